-- Memories, documents and passages. The text stands here; the vector store holds vectors alone and
-- can be made again from these tables at any time.

create table requests (
    tenant text not null,
    request_id text not null,
    request_digest bytea not null,
    resource_id text not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (tenant, request_id)
);
comment on table requests is 'Which request made what: a repeat has one effect.';

create table memories (
    id text primary key,
    tenant text not null,
    text text not null,
    session_id text not null,
    turn_id text,
    labels jsonb not null,
    digest bytea not null,
    indexed boolean not null default false,
    created_at timestamptz not null
);
create index memories_of_tenant on memories (tenant, id desc);
create unique index memories_of_turn on memories (tenant, turn_id) where turn_id is not null;
create unique index memories_said_once on memories (tenant, session_id, digest) where turn_id is not null;
create index memories_to_index on memories (created_at) where not indexed;

create table documents (
    id text primary key,
    tenant text not null,
    key text not null,
    ingestion_id text,
    created_at timestamptz not null,
    unique (tenant, key)
);
comment on column documents.key is 'The source, or the digest of a document without one.';
comment on column documents.ingestion_id is 'The version that is retrieved; null until the first is indexed.';
create index documents_of_tenant on documents (tenant, id desc);

create table ingestions (
    id text primary key,
    tenant text not null,
    document_id text not null references documents (id) on delete cascade,
    title text not null,
    source text not null,
    media_type text not null,
    digest text not null,
    labels jsonb not null,
    passage_count integer not null,
    actor text not null,
    request_id text not null,
    created_at timestamptz not null
);
create index ingestions_of_document on ingestions (document_id);
create index ingestions_by_age on ingestions (created_at);

create table passages (
    id text primary key,
    tenant text not null,
    document_id text not null,
    ingestion_id text not null references ingestions (id) on delete cascade,
    ordinal integer not null,
    headings text[] not null,
    text text not null,
    start_at integer not null,
    end_at integer not null,
    page integer not null,
    indexed boolean not null default false
);
create index passages_of_ingestion on passages (ingestion_id, ordinal);

create table removals (
    point_id text primary key,
    tenant text not null,
    collection text not null,
    created_at timestamptz not null default clock_timestamp()
);
comment on table removals is 'Points whose rows are gone and which the vector store may still hold.';
create index removals_by_age on removals (created_at);

do $$
declare
    name text;
begin
    foreach name in array array['requests', 'memories', 'documents', 'ingestions', 'passages', 'removals'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy %I on %I using (tenant = nullif(current_setting(''soma.tenant'', true), ''''))'
            ' with check (tenant = nullif(current_setting(''soma.tenant'', true), ''''))',
            name || '_of_tenant', name);
        -- The sweeper finds what a crash left behind, whosever it is; it changes rows as their tenant.
        execute format(
            'create policy %I on %I for select to memory using (current_setting(''soma.all_tenants'', true) = ''on'')',
            name || '_to_sweep', name);
    end loop;
end
$$;
