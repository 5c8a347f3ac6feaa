-- Who asked what of whom, without an SMS (decree clause 29, item 2). Written with the
-- answer, and never changed.
create table person_questions (
    id          bigint generated always as identity primary key,
    client      text        not null,
    person      bytea       not null check (octet_length(person) = 16),
    number      bytea       check (octet_length(number) = 16),    -- that was asked about; null: none
    client_ref  text        not null default '',
    bound       text        not null,
    same_number text        not null,
    sms         text        not null,
    at          timestamptz not null
);
create index person_questions_person on person_questions (person, at);
create trigger person_questions_append_only before update or delete on person_questions for each row execute function append_only();
