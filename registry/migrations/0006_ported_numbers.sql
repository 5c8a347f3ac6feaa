-- Where numbers went, as the operators told it. Rows are added and never
-- changed: of one number the newest by date wins, of two of one date the one
-- that came last.
create table ported_numbers (
    id          bigint generated always as identity primary key,  -- the order of arrival
    number      bytea       not null check (octet_length(number) = 16),
    operator    text        not null,
    valid_from  timestamptz not null,
    source      text        not null,      -- who told us,
    seq         text        not null,      -- and how he names the move: told again, it is the same row
    imported_at timestamptz not null,
    unique (source, seq)
);
create index ported_numbers_number on ported_numbers (number);
