-- That a person agreed to be charged for SMS: before anything is taken of him, and
-- with the version of the tariff that he was shown (decree clauses 12 and 22).
create table consents (
    id           bigint generated always as identity primary key,
    person       bytea       not null check (octet_length(person) = 16),
    number       bytea       not null check (octet_length(number) = 16),
    operator     text        not null,
    kind         text        not null,
    text_id      text        not null,
    text_version integer     not null,
    locale       text        not null,
    tariff_id    integer     not null references tariffs,
    price        bigint      not null,       -- tiyin, as shown
    unit         text        not null,
    shown_by     text        not null,       -- an employee's id, or 'app'
    at           timestamptz not null,       -- of the consent
    recorded_at  timestamptz not null
);
create index consents_person on consents (person, at);
create trigger consents_append_only before update or delete on consents for each row execute function append_only();
