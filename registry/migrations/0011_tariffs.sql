-- Prices as versions: who loaded one, the act it rests on, for which kind of text
-- (the first word of its id; '' is every kind without versions of its own), and
-- whether the price is of a message or of a part. Of several versions of one
-- operator, kind and date the last loaded is in force, so a date is no longer
-- unique; and a row that is there is never changed.
alter table tariffs
    add column kind text not null default '',
    add column unit text not null default 'message' check (unit in ('message', 'part')),
    add column refund_undelivered boolean not null default true,
    add column author text not null default 'before versions' check (author <> ''),
    add column act text not null default 'before versions' check (act <> ''),
    add column loaded_at timestamptz not null default now();
alter table tariffs
    alter column unit drop default,
    alter column refund_undelivered drop default,
    alter column author drop default,
    alter column act drop default,
    alter column loaded_at drop default;

create index tariffs_in_force on tariffs (operator, kind, valid_from, id);
alter table tariffs drop constraint tariffs_operator_valid_from_key;

create function tariffs_are_kept() returns trigger language plpgsql as $$
begin
    raise exception 'a tariff is never changed: load a version that takes its place' using errcode = 'restrict_violation';
end $$;
create trigger tariffs_kept before update or delete or truncate on tariffs for each statement execute function tariffs_are_kept();
