-- Versions of the rule set. They belong to no tenant; a version is never changed and never deleted.
create table rule_sets (
    version bigint primary key check (version > 0),
    -- A serialized soma.policy.v1.Bundle that holds rules only.
    rules bytea not null,
    -- SHA-256 of `rules`: tells whether a release brings anything new.
    digest bytea not null check (length(digest) = 32),
    -- Where it came from.
    origin text not null,
    create_time timestamptz not null default clock_timestamp()
);
revoke update, delete, truncate on rule_sets from policy;

-- Replicas learn of a version when its transaction commits.
create function tell_of_rule_set() returns trigger language plpgsql as $$
begin
    perform pg_notify('policy_rule_sets', new.version::text);
    return null;
end $$;
create trigger rule_sets_told after insert on rule_sets
    for each row execute function tell_of_rule_set();
