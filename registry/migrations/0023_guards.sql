-- Wrong codes that a person has typed with a client, in a row: a new code does not
-- reset them (NIST SP 800-63B-4, 3.2.2), a right one does.
create table wrong_in_a_row (
    person       bytea       not null,
    client       text        not null,
    tries        integer     not null,
    paused_until timestamptz,              -- no new code before it
    at           timestamptz not null,     -- of the last one; swept after a day
    primary key (person, client)
);
create index wrong_in_a_row_age on wrong_in_a_row (at);

-- forgiven: how many of a day's wrong codes count no more, because of a right one or
-- because the person has shown himself otherwise.
alter table wrong_tries add column forgiven integer not null default 0;

-- When a person has last shown himself otherwise than by a code (Face-ID): what asked
-- for that is satisfied.
create table step_ups (
    person bytea       not null primary key,
    client text        not null,           -- who has seen it
    method text        not null,
    at     timestamptz not null
);
