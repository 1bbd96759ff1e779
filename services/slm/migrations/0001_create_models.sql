-- Model profiles that tenants made; built-in ones are code.
create table models (
    tenant text not null,
    name text not null,
    provider smallint not null,
    task smallint not null,
    provider_model text not null,
    base_url text not null,
    dialect smallint not null,
    context_tokens integer not null,
    max_output_tokens integer not null,
    slots integer not null,
    description text not null,
    -- AES-256-GCM over the provider's key; tenant and name are its associated data.
    sealed_api_key bytea,
    create_time timestamptz not null,
    request_id text not null,
    request_digest bytea not null,
    primary key (tenant, name),
    constraint models_request unique (tenant, request_id)
);
alter table models enable row level security;
alter table models force row level security;
create policy models_of_tenant on models
    using (tenant = nullif(current_setting('soma.tenant', true), ''))
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));
