-- Signing keys, refresh tokens, revocations.
create sequence trust_version;

-- Belongs to no tenant; only this service's role sees it.
create table signing_keys (
    kid text primary key,
    public_jwk text not null,
    -- AES-256-GCM over the private JWK, with the kid as associated data.
    sealed_private_jwk bytea not null,
    create_time timestamptz not null,
    -- Signs from then on: verifiers have learned of it by then.
    sign_time timestamptz not null,
    -- When the next key takes over.
    retire_time timestamptz not null,
    -- The end of the last API key that it signed.
    keep_time timestamptz,
    -- The end of the last token that it signed.
    expire_time timestamptz not null
);
alter table signing_keys enable row level security;
alter table signing_keys force row level security;
create policy signing_keys_of_identity on signing_keys to identity using (true) with check (true);

create table refresh_tokens (
    -- SHA-256 of the token: the token itself is nowhere.
    digest bytea primary key,
    tenant text not null references tenants (id),
    -- All tokens that one sign-in led to.
    family text not null,
    user_id text not null references users (id),
    scopes text[] not null,
    create_time timestamptz not null,
    expire_time timestamptz not null,
    use_time timestamptz,
    revoke_time timestamptz,
    access_token_id text not null,
    access_expire_time timestamptz not null
);
create index refresh_tokens_family on refresh_tokens (tenant, family);
create index refresh_tokens_user on refresh_tokens (tenant, user_id);
create index refresh_tokens_access on refresh_tokens (tenant, access_token_id);
create index refresh_tokens_expire on refresh_tokens (expire_time);
alter table refresh_tokens enable row level security;
alter table refresh_tokens force row level security;
create policy refresh_tokens_of_tenant on refresh_tokens
    using (tenant = nullif(current_setting('soma.tenant', true), ''))
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));
create policy refresh_tokens_sweep on refresh_tokens to identity
    using (current_setting('soma.all_tenants', true) = 'on' and expire_time < now());

create table revocations (
    token_id text primary key,
    tenant text not null,
    revoke_time timestamptz not null,
    expire_time timestamptz not null,
    version bigint not null default nextval('trust_version')
);
create index revocations_expire on revocations (expire_time);
create index revocations_revoke on revocations (revoke_time);
alter table revocations enable row level security;
alter table revocations force row level security;
create policy revocations_of_tenant on revocations
    using (tenant = nullif(current_setting('soma.tenant', true), ''))
    with check (tenant = nullif(current_setting('soma.tenant', true), ''));
-- Every verifier learns every revocation; what has ended is swept.
create policy revocations_all on revocations for select to identity
    using (current_setting('soma.all_tenants', true) = 'on');
create policy revocations_sweep on revocations for delete to identity
    using (current_setting('soma.all_tenants', true) = 'on' and expire_time < now());
