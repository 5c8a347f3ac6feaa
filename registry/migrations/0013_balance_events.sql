-- What follows from an operator's news leaves as events of the binding, relayed
-- as the outbox is. The version counts a binding's events and nothing else: its
-- version fences the codes that are on their way, and a suspension fences none.
alter table bindings add column event_version bigint not null default 0;

create table binding_events (
    seq        bigint generated always as identity primary key,
    binding_id bigint      not null,
    version    bigint      not null,             -- bindings.event_version
    person     bytea       not null check (octet_length(person) = 16),
    number     bytea       not null check (octet_length(number) = 16),
    operator   text        not null,
    change     text        not null,             -- suspended, resumed, funds_low; the list grows
    why        text        not null default '',  -- of suspended: balance, barred
    at         timestamptz not null
);

-- barred is the operator's last word on it, barred_at when he said so. warned is
-- what was left when the person was warned (tiyin); null: he was not since money
-- came.
alter table accounts
    add column barred    boolean not null default false,
    add column barred_at timestamptz,
    add column warned    bigint;
-- Who may have to be warned. No column of it changes with a Message of a known
-- balance, so that its updates stay on their page.
create index accounts_to_warn on accounts (id) where told_at is not null and warned is null;

-- Told twice, barred and unbarred change nothing either.
alter table credits drop constraint credits_kind_check,
    add constraint credits_kind_check check (kind in ('top_up', 'balance', 'barred', 'unbarred'));
