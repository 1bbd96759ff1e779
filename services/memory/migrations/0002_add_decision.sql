-- Which decision of the policy let a version in: its audit record is written when it is indexed.
alter table ingestions
    add column decision_id text not null default '',
    add column policy_version bigint not null default 0;
