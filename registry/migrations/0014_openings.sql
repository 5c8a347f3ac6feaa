-- A month of transfers that is archived leaves one opening row for each account,
-- and for each operator and day what his statement says. Run it when little is
-- sent: its first index reads every transfer.

-- What was transferred on a day is found by it, whatever month the Message is of.
-- Transfers are appended, so their times stand in order, and a summary of each
-- range of pages is enough.
create index transfers_at on transfers using brin (at) with (pages_per_range = 32, autosummarize = on);

-- Transfers on Messages of a month that is archived: an operator's file may
-- correct a Charge later.
create table transfers_late partition of transfers default;

create table archives (
    month       date        not null primary key,   -- its first day, UTC: of the time in the ids
    transfers   bigint      not null,
    archived_at timestamptz not null
);

create table openings (
    account_id bigint not null,
    month      date   not null references archives,
    held       bigint not null,              -- tiyin, sum over the month's transfers
    taken      bigint not null,              -- tiyin, likewise
    late       bigint not null,              -- of taken: posted when it was reserved no more
    transfers  bigint not null,
    primary key (account_id, month)
);

-- The other side of the entry, line by line as the operator's statement has it
-- (docs/statements.md).
create table operator_days (
    month             date    not null references archives,
    day               date    not null,      -- Asia/Tashkent, of the transfers
    operator          text    not null,
    kind              text    not null,
    tariff_id         integer not null,      -- 0: none was in force
    charging          text    not null,
    posted_messages   bigint  not null,
    posted_parts      bigint  not null,
    reversed_messages bigint  not null,
    reversed_parts    bigint  not null,
    voided_messages   bigint  not null,
    voided_parts      bigint  not null,
    posted            bigint  not null,      -- tiyin
    reversed          bigint  not null,      -- tiyin
    primary key (day, operator, kind, tariff_id, charging, month)
);

create trigger archives_append_only before update or delete on archives for each row execute function append_only();
create trigger openings_append_only before update or delete on openings for each row execute function append_only();
create trigger operator_days_append_only before update or delete on operator_days for each row execute function append_only();

-- Whose Charges a statement tells: those of former bindings, too.
create index bindings_person on bindings (person);
