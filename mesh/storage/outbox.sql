-- The outbox of one schema: the events of a change, written in the change's transaction.
-- Applied by the migrator to every service's schema after its own migrations; safe to run again.
create table if not exists outbox (
    id text primary key,
    topic text not null,
    key text not null,
    tenant text not null,
    payload bytea not null,
    headers jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    published_at timestamptz
);
create index if not exists outbox_unpublished on outbox (created_at) where published_at is null;
create index if not exists outbox_published on outbox (published_at) where published_at is not null;

alter table outbox enable row level security;
alter table outbox force row level security;

-- A service puts in its tenant's events.
drop policy if exists outbox_of_tenant on outbox;
create policy outbox_of_tenant on outbox
    using (tenant = nullif(current_setting('soma.tenant', true), ''))
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));

-- Who publishes marks rows of every tenant: the service itself at once, the outbox worker later.
drop policy if exists outbox_publishers on outbox;
create policy outbox_publishers on outbox to {schema}, worker_outbox
    using (current_setting('soma.all_tenants', true) = 'on')
    with check (current_setting('soma.all_tenants', true) = 'on');

grant usage on schema {schema} to worker_outbox;
grant select, delete on outbox to worker_outbox;
grant update (published_at) on outbox to worker_outbox;
