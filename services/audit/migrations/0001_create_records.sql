-- One chain of records for each tenant. Rows are inserted and read; nothing else is ever done to them.
create table records (
    tenant text not null check (tenant <> ''),
    index bigint not null check (index > 0),
    id text not null check (id ~ '^aud_[0-9a-f]{32}$'),
    -- What lists filter by; verification compares both with the record itself.
    action text not null,
    resource text not null,
    -- The serialized soma.audit.v1.AuditRecord that the hash is made of.
    record bytea not null,
    hash bytea not null check (length(hash) = 32),
    previous_hash bytea not null check (length(previous_hash) = 32),
    append_time timestamptz not null default clock_timestamp(),
    primary key (tenant, index),
    constraint records_id unique (tenant, id),
    -- A hash follows one record only: a chain cannot fork.
    constraint records_previous unique (tenant, previous_hash)
);
create index records_resource on records (tenant, resource, index);
create index records_action on records (tenant, action, index);

alter table records enable row level security;
alter table records force row level security;
create policy records_read on records for select
    using (tenant = nullif(current_setting('soma.tenant', true), ''));
create policy records_append on records for insert
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));
revoke update, delete, truncate on records from audit;

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'audit records are append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger records_unchanged before update or delete on records
    for each row execute function refuse_change();
create trigger records_kept before truncate on records
    for each statement execute function refuse_change();
