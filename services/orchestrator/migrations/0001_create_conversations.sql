-- Sessions and their turns. A turn's row holds what gives its whole stream again: the opening
-- events, the text, and where the text was cut.
create table sessions (
    id text primary key check (id ~ '^ses_[0-9a-f]{32}$'),
    tenant text not null,
    persona text not null,
    display_name text not null,
    turn_count integer not null default 0,
    create_time timestamptz not null,
    update_time timestamptz not null,
    request_id text not null,
    request_digest bytea not null,
    constraint sessions_request unique (tenant, request_id)
);
create index sessions_newest on sessions (tenant, id desc);

create table turns (
    id text primary key check (id ~ '^trn_[0-9a-f]{32}$'),
    tenant text not null,
    session_id text not null references sessions (id) on delete cascade,
    number integer not null default 0,
    state smallint not null,
    input text not null,
    text text not null default '',
    finish_reason smallint not null default 0,
    input_tokens integer not null default 0,
    output_tokens integer not null default 0,
    citations bytea not null default '',
    decision_id text not null,
    policy_version bigint not null,
    persona text not null,
    model text not null,
    subject text not null,
    error_reason integer not null default 0,
    error_message text not null default '',
    opening bytea[] not null default '{}',
    delta_lengths integer[] not null default '{}',
    request bytea,
    create_time timestamptz not null,
    end_time timestamptz,
    request_id text not null,
    request_digest bytea not null,
    constraint turns_request unique (tenant, request_id)
);
comment on column turns.request is 'The soma.slm.v1.GenerationRequest, until the turn ended.';
comment on column turns.opening is 'The first events of the stream, serialized.';
comment on column turns.delta_lengths is 'Characters of each delta of the stream.';
create index turns_in_order on turns (session_id, number);
create index turns_running on turns (create_time) where state = 1;

alter table sessions enable row level security;
alter table sessions force row level security;
create policy sessions_of_tenant on sessions
    using (tenant = nullif(current_setting('soma.tenant', true), ''))
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));

alter table turns enable row level security;
alter table turns force row level security;
create policy turns_of_tenant on turns
    using (tenant = nullif(current_setting('soma.tenant', true), ''))
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));
-- The reaper looks for running turns of all tenants; it changes each as its tenant.
create policy turns_for_reaper on turns for select to orchestrator
    using (current_setting('soma.all_tenants', true) = 'on');

grant select, insert, update, delete on sessions, turns to orchestrator;
