-- Which Messages went in doubt, by number, for some days: a receipt whose answer
-- never came is looked for here. What is found by a changing state has a small
-- table of its own; this one holds what crashes and lost links left.
create table doubts (
    message_id bytea       not null check (octet_length(message_id) = 24) primary key,
    operator   text        not null,
    dest       bytea       not null,
    since      timestamptz not null          -- when it was admitted first: no receipt of it is older
);
create index doubts_dest on doubts (dest);
create index doubts_since on doubts (since);

-- user_message_reference, where the operator echoes it in the receipt.
alter table receipts_unmatched add column reference integer;
