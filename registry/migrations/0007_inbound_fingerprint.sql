-- What tells an inbound message that an operator sent again from another one: a
-- hash of it by a key of the bridges. Null: stored by an older program.
alter table inbound add column fingerprint bytea check (octet_length(fingerprint) = 16);
