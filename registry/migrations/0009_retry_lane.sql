-- Codes that come again go before notices: they are found by the lane, and not
-- behind all notices that are due. The lane is that of the Message, so the table
-- takes it from there itself, whatever writes the row: a process of the version
-- before, too.
alter table retries add column lane text not null default 'bulk';

create function retry_lane() returns trigger language plpgsql as $$
begin
    select m.lane into new.lane from messages m where m.id = new.message_id;
    new.lane := coalesce(new.lane, 'bulk');   -- the Message is gone; admission says so
    return new;
end $$;
create trigger retries_lane before insert on retries for each row execute function retry_lane();

update retries r set lane = m.lane from messages m where m.id = r.message_id;

drop index retries_due;
create index retries_due on retries (operator, lane, due_at);
