-- What an operator debited by his daily file, and our books do not say: facts that
-- are written once. mark is what makes it the same difference in another file whose
-- period overlaps.
create table differences (
    id         bigint generated always as identity primary key,
    file_id    bigint      not null references reconciled_files,
    operator   text        not null,
    kind       text        not null check (kind in
        ('double', 'charged_undelivered', 'charged_unknown', 'not_charged', 'amount', 'missing', 'stranger')),
    message_id bytea       check (octet_length(message_id) = 24),   -- null: the line is of no Message of ours
    lines      integer[]   not null,         -- of the file
    number     bytea       not null check (octet_length(number) = 16),
    charging   text        not null,         -- of the Message
    charge     text        not null,         -- where its Charge stood
    price      bigint      not null,         -- tiyin, what it may cost
    again      boolean     not null,         -- it may have been written more than once
    ours       bigint      not null check (ours >= 0),     -- tiyin, posted
    theirs     bigint      not null check (theirs >= 0),   -- tiyin, debited
    mark       bytea       not null,
    found_at   timestamptz not null,
    check ((kind = 'stranger') = (message_id is null)),
    unique (file_id, mark, lines)
);
create index differences_mark on differences (mark);
create index differences_message on differences (message_id);

-- What became of a difference, step by step; the last one is its state. A person
-- proposes, and another one confirms or rejects; a rule settles alone. transfer is
-- the step of the Charge that settling it made; null: none.
create table difference_steps (
    difference_id bigint      not null references differences,
    step          smallint    not null check (step > 0),
    state         text        not null check (state in ('open', 'proposed', 'settled', 'rejected')),
    way           text        check (way in ('operator_owes', 'accept', 'write_off')),
    by            text        not null,      -- who; 'rule', or '' for what was found
    why           text        not null,
    transfer      smallint,
    at            timestamptz not null,
    primary key (difference_id, step),
    check ((way is null) = (state in ('open', 'rejected')))
);
create unique index difference_steps_settled on difference_steps (difference_id) where state = 'settled';

create trigger differences_append_only before update or delete on differences for each row execute function append_only();
create trigger difference_steps_append_only before update or delete on difference_steps for each row execute function append_only();

-- Those that are not settled yet: found without walking over all that ever were.
-- Whoever takes a step holds the lock of its row.
create table differences_open (
    difference_id bigint not null references differences primary key
);

-- A difference moves its Charge by a transfer of its own. The months inherit the check.
alter table transfers drop constraint transfers_why_check;
alter table transfers add constraint transfers_why_check check (why in
    ('admitted', 'answer', 'receipt', 'confirmed', 'doubt', 'stopped', 'absent', 'charger', 'reconciled', 'migrated'));
