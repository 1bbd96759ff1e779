-- Tenants, users, service accounts and API keys. A tenant's rows are seen by its own transactions only.
create table tenants (
    id text primary key check (id ~ '^tnt_[0-9a-f]{32}$'),
    display_name text not null,
    -- The first tenant's owner is the operator: its audit log takes what belongs to no tenant.
    operator boolean not null default false,
    create_time timestamptz not null
);
create unique index tenants_operator on tenants (operator) where operator;

create table users (
    id text primary key check (id ~ '^usr_[0-9a-f]{32}$'),
    tenant text not null references tenants (id),
    email text not null check (email = lower(email)),
    display_name text not null,
    password_hash text not null,
    scopes text[] not null,
    create_time timestamptz not null,
    disable_time timestamptz,
    request_id text not null,
    request_digest bytea not null,
    constraint users_email unique (tenant, email),
    constraint users_request unique (tenant, request_id)
);

create table service_accounts (
    id text primary key check (id ~ '^svc_[0-9a-f]{32}$'),
    tenant text not null references tenants (id),
    display_name text not null,
    scopes text[] not null,
    create_time timestamptz not null,
    request_id text not null,
    request_digest bytea not null,
    constraint service_accounts_request unique (tenant, request_id)
);

create table api_keys (
    id text primary key check (id ~ '^key_[0-9a-f]{32}$'),
    tenant text not null references tenants (id),
    display_name text not null,
    subject text not null,
    scopes text[] not null,
    create_time timestamptz not null,
    expire_time timestamptz not null,
    revoke_time timestamptz,
    request_id text not null,
    request_digest bytea not null,
    constraint api_keys_request unique (tenant, request_id)
);
create index api_keys_subject on api_keys (tenant, subject);

-- Who created which tenant by which request: the creation's idempotency is the caller's.
create table tenant_creations (
    tenant text not null,
    request_id text not null,
    request_digest bytea not null,
    created text not null,
    owner text not null,
    primary key (tenant, request_id)
);

do $$
declare
    name text;
begin
    foreach name in array array['users', 'service_accounts', 'api_keys', 'tenant_creations'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy %I on %I using (tenant = nullif(current_setting(''soma.tenant'', true), ''''))'
            ' with check (tenant = nullif(current_setting(''soma.tenant'', true), ''''))',
            name || '_of_tenant', name);
    end loop;
end $$;

alter table tenants enable row level security;
alter table tenants force row level security;
create policy tenants_own on tenants
    using (id = nullif(current_setting('soma.tenant', true), ''))
    with check (id = nullif(current_setting('soma.tenant', true), ''));
-- To find the operator's tenant before anybody signed in.
create policy tenants_all on tenants for select to identity
    using (current_setting('soma.all_tenants', true) = 'on');
