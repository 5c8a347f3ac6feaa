-- The first shape of the record of truth.
--
-- Ids are 24 bytes (internal/mobileid/id.go); the first six are the accept
-- time, so a range of ids is a range of time. Tables that grow with traffic
-- are partitioned by the month in the id; registry/partitions.go makes the
-- months. An id always meets itself, because its month is inside it.
--
-- No index stands on a column that changes while a message is on its way, not
-- even in its WHERE (a column there counts as indexed): those updates stay on
-- their page (HOT), which is why fillfactor leaves room. What has to be found
-- by a changing state has a small table of its own: live_challenges, retries.
--
-- Columns in clear that name a person: bindings.pinfl and bindings.msisdn.
-- Everywhere else person and number are pseudonyms of 16 bytes.

create table accounts (
    id      bigint generated always as identity primary key,
    owner   text   not null unique,          -- 'subscriber:<number pseudonym>:<operator>'
    granted bigint not null default 0,       -- tiyin, sum of credits
    pending bigint not null default 0,       -- tiyin, reserved
    posted  bigint not null default 0,       -- tiyin, charged
    check (granted >= 0 and pending >= 0 and posted >= 0),
    -- The seat belt: admission computes this, the table refuses the rest.
    constraint accounts_not_overdrawn check (posted + pending <= granted)
) with (fillfactor = 50);

create table credits (
    source     text        not null,         -- who told us, for example 'operator:beeline'
    seq        text        not null,         -- its number there: a replay changes nothing
    account_id bigint      not null references accounts,
    amount     bigint      not null check (amount > 0),
    at         timestamptz not null,
    primary key (source, seq)
);

create table tariffs (
    id         integer generated always as identity primary key,
    operator   text        not null,
    amount     bigint      not null check (amount >= 0),   -- tiyin a message
    valid_from timestamptz not null,
    unique (operator, valid_from)
);

create table bindings (
    id            bigint generated always as identity primary key,
    person        bytea       not null check (octet_length(person) = 16),
    number        bytea       not null check (octet_length(number) = 16),
    pinfl         text        not null,      -- clear
    msisdn        text        not null,      -- clear, E.164 with plus
    operator      text        not null,
    version       integer     not null default 1,   -- grows with every change of the row
    state         text        not null check (state in ('active', 'revoked')),
    sms_suspended boolean     not null default false,
    locale        text        not null default 'uz-Latn',
    account_id    bigint      not null references accounts,
    bound_at      timestamptz not null,
    ended_at      timestamptz
);
-- One number a person, one person a number (decree clauses 5, 14).
create unique index bindings_person_active on bindings (person) where state = 'active';
create unique index bindings_number_active on bindings (number) where state = 'active';

create table idempotency (
    client     text        not null,
    key_part   bytea       not null check (octet_length(key_part) = 9),
    request_id bytea       not null check (octet_length(request_id) = 24),
    body_hash  text        not null,
    created_at timestamptz not null,
    primary key (client, key_part)
);
create index idempotency_age on idempotency (created_at);

create table challenges (
    id               bytea       not null check (octet_length(id) = 24) primary key,
    client           text        not null,
    person           bytea       not null,
    purpose          text        not null,
    locale           text        not null,
    context_hash     text        not null default '',
    client_ref       text        not null default '',
    body_hash        text        not null,
    state            text        not null,
    reason           text        not null default '',
    state_version    integer     not null default 1,
    binding_id       bigint,
    binding_version  integer,
    nonce            text        not null default '',
    send_number      integer     not null default 1,   -- always 1: one code a challenge until resends exist
    message_id       bytea,
    tries            integer     not null,
    wrong_tries      integer     not null default 0,
    issued_at        timestamptz not null,
    expires_at       timestamptz not null,
    ended_at         timestamptz,
    source_topic     text        not null default '',
    source_partition integer     not null default -1,
    source_offset    bigint      not null default -1
) partition by range (id);

-- Which challenge is live for a person, purpose and client. The row goes when
-- the challenge ends, so the table stays as small as the live codes are few.
create table live_challenges (
    client       text        not null,
    person       bytea       not null,
    purpose      text        not null,
    challenge_id bytea       not null,
    expires_at   timestamptz not null,
    primary key (person, purpose, client)
);
create index live_challenges_expiry on live_challenges (expires_at, challenge_id);

create table wrong_tries (
    person bytea   not null,
    day    date    not null,                 -- Asia/Tashkent; swept after 30 days
    tries  integer not null,
    primary key (person, day)
);

create table confirmations (
    challenge_id    bytea       not null check (octet_length(challenge_id) = 24) primary key,
    client          text        not null,
    person          bytea       not null,
    purpose         text        not null,
    context_hash    text        not null,
    binding_id      bigint      not null,
    binding_version integer     not null,
    verify_key      bytea       not null,    -- key part of the verify that made it
    confirmed_at    timestamptz not null
) partition by range (challenge_id);

create table messages (
    id             bytea       not null check (octet_length(id) = 24) primary key,
    client         text        not null,
    person         bytea       not null,
    lane           text        not null check (lane in ('otp', 'bulk')),
    operator       text        not null,
    text_id        text        not null,
    challenge_id   bytea,
    -- A notification that ends without a text (person not bound, deadline
    -- passed) has no fence, no destination and an empty operator.
    fence_kind     text        check (fence_kind in ('binding', 'enrollment', 'test')),
    fence_id       bigint,
    fence_version  integer,
    account_id     bigint,
    tariff_id      integer,
    amount         bigint      not null check (amount >= 0),   -- tiyin, fixed when queued
    deadline       timestamptz not null,
    dest           bytea,                    -- pseudonym of the number
    parts          smallint    not null,
    sealed         bytea,                    -- number and text; null once sent or ended
    seal_key       text,                     -- null with it: a key is removable when no row names it
    state          text        not null,
    state_version  integer     not null default 1,
    reason         text        not null default '',
    retry_at       timestamptz,
    owner          bigint,                   -- bridges.id
    resends        smallint    not null default 0,
    client_ref     text        not null default '',
    body_hash      text        not null default '',
    queued_at      timestamptz not null,
    published_at   timestamptz,              -- last time its id went to the lane
    admitted_at    timestamptz,
    submitted_at   timestamptz,
    ended_at       timestamptz,
    link           text        not null default '',
    source_topic   text        not null default '',
    source_partition integer   not null default -1,
    source_offset  bigint      not null default -1,
    lane_partition integer     not null default -1,
    lane_offset    bigint      not null default -1,
    constraint messages_erased check (ended_at is null or (sealed is null and seal_key is null))
) partition by range (id);
-- For the sweeper: everything unfinished, oldest deadline first. Its columns
-- change once, at the end.
create index messages_unfinished on messages (deadline, id) where ended_at is null;

-- What a bridge has to admit again: retries, and codes in doubt that have
-- their one extra sending left. A row here is a hint: admission looks at the
-- Message and removes the hint that no longer holds.
create table retries (
    message_id bytea       not null primary key,
    operator   text        not null,
    due_at     timestamptz not null
);
create index retries_due on retries (operator, due_at);

create table message_parts (
    message_id  bytea       not null,
    part        smallint    not null,
    account     text        not null,        -- the operator account: operator/system_id
    operator_id text        not null,        -- message_id of submit_sm_resp, normalised
    dest        bytea       not null,
    link        text        not null,
    sequence    bigint      not null,
    status      bigint      not null,        -- command_status
    answered_at timestamptz,
    receipt     text        not null default '',   -- final state by receipt
    primary key (message_id, part, link, sequence)   -- each link counts from 1
) partition by range (message_id);
-- Operators' ids wrap and repeat: a match is account + id + destination.
create index message_parts_operator_id on message_parts (operator_id, account);

create table receipts (
    message_id  bytea       not null,
    part        smallint    not null,
    seen        integer     not null,        -- 1, 2, ... : repeated receipts are normal
    state       text        not null,        -- '' = not final
    stat        text        not null,
    err         text        not null,
    received_at timestamptz not null,
    primary key (message_id, part, seen)
) partition by range (message_id);

create table receipts_unmatched (
    id          bigint generated always as identity primary key,
    account     text        not null,
    operator_id text        not null,
    dest        bytea       not null,
    state       text        not null,
    stat        text        not null,
    err         text        not null,
    received_at timestamptz not null
);
-- An operator repeats a receipt until it is answered: once is enough.
create unique index receipts_unmatched_key on receipts_unmatched (operator_id, account, dest, stat, err);
create index receipts_unmatched_age on receipts_unmatched (received_at);

create table charges (
    message_id  bytea       not null check (octet_length(message_id) = 24) primary key,
    account_id  bigint      not null,
    tariff_id   integer,
    amount      bigint      not null check (amount >= 0),
    state       text        not null check (state in ('pending', 'posted', 'voided', 'reversed')),
    reserved_at timestamptz not null,
    settled_at  timestamptz,
    reversed_at timestamptz
) partition by range (message_id);

create table bridges (
    id          bigint generated always as identity primary key,
    operator    text        not null,
    name        text        not null,        -- host and process, for people
    started_at  timestamptz not null,
    lease_until timestamptz not null,        -- database time
    swept_at    timestamptz                  -- when the sweeper had returned all it owned
);

create table outbox (
    seq        bigint generated always as identity primary key,
    subject    bytea       not null,         -- id of the challenge or Message
    challenge  bytea,
    client     text        not null,
    state      text        not null,
    reason     text        not null default '',
    version    bigint      not null,
    at         timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);  -- a queue: short, but churning
