-- Double entry. A Charge is the money of one Message: its state stands in the
-- Message's row, which changes at the same moments anyway, and each of its steps
-- is a transfer, which is written once and never changed. Bridges and consumers of
-- the version before must not run beside this one: stop them first.

-- charging: who is asked for the money, fixed when the Message is queued.
--   ledger    our mirror of the subscriber's account at the operator
--   diameter  the operator's charging system
--   operator  nobody: the operator debits the subscriber when he takes the SMS
--   payer     nobody: the account is one of the system's, which has no limit
alter table messages
    add column charging    text     not null default 'ledger' check (charging in ('ledger', 'diameter', 'operator', 'payer')),
    add column units       smallint not null default 1,   -- charged for: 1, or its parts where the tariff is by the part
    add column one_send    boolean  not null default false,   -- a code in doubt has no extra sending
    add column charge      text     check (charge in ('pending', 'posted', 'voided', 'unknown', 'reversed')),
    add column charge_step smallint not null default 0,   -- transfers so far
    add column charged     bigint   not null default 0;   -- tiyin, posted and not reversed

-- From the account that pays to what the operator is owed for the day (Asia/
-- Tashkent) of the transfer. The second side is summed, never a row: it would be
-- the one that every Message waits for.
create table transfers (
    message_id bytea       not null check (octet_length(message_id) = 24),
    step       smallint    not null check (step > 0),
    kind       text        not null check (kind in ('pending', 'posted', 'voided', 'unknown', 'reversed')),
    why        text        not null check (why in ('admitted', 'answer', 'receipt', 'confirmed', 'doubt', 'stopped', 'absent', 'charger', 'migrated')),
    account_id bigint      not null,         -- debited
    operator   text        not null,         -- credited
    held       bigint      not null,         -- tiyin, change of what is reserved
    taken      bigint      not null,         -- tiyin, change of what is posted
    at         timestamptz not null,
    primary key (message_id, step)           -- a step is taken once
) partition by range (message_id);
-- A subscriber's statement is read by it.
create index transfers_account on transfers (account_id, message_id) where step = 1;

create function append_only() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never changed: what is wrong is corrected by another row', tg_table_name
        using errcode = 'restrict_violation';
end $$;

do $$
declare
    part text;
begin
    for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'charges'::regclass loop
        execute format('create table %I (like transfers including all) with (fillfactor = 100, autovacuum_vacuum_threshold = 100000,
            autovacuum_vacuum_insert_threshold = 100000, autovacuum_analyze_threshold = 100000)', replace(part, 'charges', 'transfers'));
        execute (select format('alter table transfers attach partition %I ', replace(part, 'charges', 'transfers'))
                     || pg_get_expr(relpartbound, oid) from pg_class where oid = part::regclass);
    end loop;
end $$;

insert into transfers (message_id, step, kind, why, account_id, operator, held, taken, at)
select h.message_id, 1, 'pending', 'admitted', h.account_id, m.operator, h.amount, 0, h.reserved_at
from charges h join messages m on m.id = h.message_id
union all
select h.message_id, 2, case h.state when 'voided' then 'voided' else 'posted' end, 'migrated', h.account_id, m.operator,
       -h.amount, case h.state when 'voided' then 0 else h.amount end, coalesce(h.settled_at, h.reserved_at)
from charges h join messages m on m.id = h.message_id where h.state <> 'pending'
union all
select h.message_id, 3, 'reversed', 'migrated', h.account_id, m.operator, 0, -h.amount, coalesce(h.reversed_at, h.reserved_at)
from charges h join messages m on m.id = h.message_id where h.state = 'reversed';

update messages m set charge = h.state, charged = case when h.state = 'posted' then h.amount else 0 end,
       charge_step = case h.state when 'pending' then 1 when 'reversed' then 3 else 2 end
from charges h where h.message_id = m.id;

drop table charges;

create trigger transfers_append_only before update or delete on transfers for each row execute function append_only();

-- late: posted when it was reserved no more, so perhaps more than there was.
-- told_at: since when the balance is known; null: nothing is refused for it.
-- balance_at: of the operator's last word on all of it. daily_limit: of the
-- subscriber's own choice, tiyin a day (Asia/Tashkent). kept: false for the
-- system's own accounts, whose balance is a sum.
alter table accounts
    add column late        bigint not null default 0 check (late >= 0),
    add column told_at     timestamptz,
    add column balance_at  timestamptz,
    add column daily_limit bigint check (daily_limit >= 0),
    add column day         date,
    add column day_spent   bigint not null default 0,
    add column kept        boolean not null default true;
update accounts set told_at = now();
alter table accounts drop constraint accounts_not_overdrawn,
    add constraint accounts_not_overdrawn check (told_at is null or posted + pending - late <= granted);

-- What the operator tells of an account: money that came, or what there is. The
-- second replaces what was told before; amount is what it changed.
alter table credits drop constraint credits_amount_check,
    add column kind    text not null default 'top_up' check (kind in ('top_up', 'balance')),
    add column told    bigint check (told >= 0),   -- tiyin, as the operator said
    add column told_at timestamptz;                -- by his clock
update credits set told = amount, told_at = at;
alter table credits alter column told set not null, alter column told_at set not null;
create trigger credits_append_only before update or delete on credits for each row execute function append_only();

-- SMS to a binding stop when the money is out, and come back by a top-up or by a
-- Message that is tried after a while.
alter table bindings
    add column suspended_at  timestamptz,
    add column suspended_why text check (suspended_why in ('balance', 'barred')),
    add column probe_at      timestamptz,                  -- after it one Message tries; of the last probe, once SMS are back
    add column probes        smallint not null default 0;  -- in vain, in a row
update bindings set suspended_at = now(), suspended_why = 'balance', probe_at = now() where sms_suspended;

-- Transfers that the operator's charging system has to be told of.
create table charge_calls (
    message_id bytea       not null,
    step       smallint    not null,
    operator   text        not null,
    due_at     timestamptz not null,
    tries      integer     not null default 0,
    primary key (message_id, step)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 100000);
create index charge_calls_due on charge_calls (operator, due_at);
