-- A receipt may tell more than its state: that the subscriber could not pay.
alter table message_parts add column receipt_reason text not null default '';
alter table receipts add column reason text not null default '';
alter table receipts_unmatched add column reason text not null default '';

-- Receipts that cannot be read, for whoever teaches the bridge the operator's
-- dialect: a few of each account, for a while.
create table receipts_unread (
    id          bigint generated always as identity primary key,
    account     text        not null,
    why         text        not null,        -- malformed | unparseable
    sealed      bytea       not null,        -- the PDU, to the key of the dead letters: it may quote the text
    received_at timestamptz not null
);
create index receipts_unread_account on receipts_unread (account, received_at);
create index receipts_unread_age on receipts_unread (received_at);

-- What subscribers sent to us. A row stays after it was published, for the
-- time that its topic keeps it.
create table inbound (
    id           bytea       not null check (octet_length(id) = 16) primary key,
    operator     text        not null,
    account      text        not null,
    number       bytea,                      -- pseudonym; null: not a number of this country
    part_reference integer   not null default 0,
    part_total   smallint    not null default 0,   -- 0: it came whole
    part         smallint    not null default 0,
    sealed       bytea       not null,       -- numbers and text
    received_at  timestamptz not null,
    published_at timestamptz
);
create index inbound_unpublished on inbound (received_at) where published_at is null;
create index inbound_published on inbound (published_at);
