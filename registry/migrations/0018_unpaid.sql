-- Messages that ended no_funds, by person: his statement tells of them, and most
-- have no transfer to be found by. Not an index on messages, which would stand on
-- a column that changes on the way (0001). A trigger writes it, since a Message ends
-- so in admission and in settling, and whoever ends it next must not forget. Run it
-- when little is sent: it reads every Message.
create table unpaid (
    person     bytea not null check (octet_length(person) = 16),
    message_id bytea not null check (octet_length(message_id) = 24),
    primary key (person, message_id)
) partition by range (message_id);

do $$
declare
    part text;
begin
    for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'messages'::regclass loop
        execute format('create table %I (like unpaid including all) with (fillfactor = 100, autovacuum_vacuum_threshold = 100000,
            autovacuum_vacuum_insert_threshold = 100000, autovacuum_analyze_threshold = 100000)', replace(part, 'messages', 'unpaid'));
        execute (select format('alter table unpaid attach partition %I ', replace(part, 'messages', 'unpaid'))
                     || pg_get_expr(relpartbound, oid) from pg_class where oid = part::regclass);
    end loop;
end $$;

create function note_unpaid() returns trigger language plpgsql as $$
begin
    insert into unpaid (person, message_id) values (new.person, new.id) on conflict do nothing;
    return null;
end $$;
create trigger messages_unpaid after update of state on messages for each row
    when (new.state = 'no_funds' and old.state <> 'no_funds') execute function note_unpaid();

insert into unpaid (person, message_id) select person, id from messages where state = 'no_funds';
