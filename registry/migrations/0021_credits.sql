-- A balance that is told late keeps what came after it.
create index credits_account on credits (account_id, told_at);

-- What is only ever added to is not emptied either: truncate fires no trigger of a row.
create function not_emptied() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger transfers_not_emptied before truncate on transfers for each statement execute function not_emptied();
create trigger credits_not_emptied before truncate on credits for each statement execute function not_emptied();
create trigger consents_not_emptied before truncate on consents for each statement execute function not_emptied();
create trigger openings_not_emptied before truncate on openings for each statement execute function not_emptied();
create trigger archives_not_emptied before truncate on archives for each statement execute function not_emptied();
create trigger operator_days_not_emptied before truncate on operator_days for each statement execute function not_emptied();
create trigger differences_not_emptied before truncate on differences for each statement execute function not_emptied();
create trigger difference_steps_not_emptied before truncate on difference_steps for each statement execute function not_emptied();

-- It is not inherited by the months.
do $$
declare
    part text;
begin
    for part in select c.relname from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relname ~ '^(archived_)?transfers_(\d{4}_\d{2}|late)$' loop
        execute format('create trigger %I before truncate on %I for each statement execute function not_emptied()', part || '_not_emptied', part);
    end loop;
end $$;
