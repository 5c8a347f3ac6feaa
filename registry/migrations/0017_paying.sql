-- Whose account a subscriber's is: of a number at an operator. A number that moves
-- has one at each operator that it was with.
alter table accounts
    add column number   bytea check (octet_length(number) = 16),
    add column operator text,
    add constraint accounts_whole check ((number is null) = (operator is null));

-- The pseudonym in an owner's name is base32 (RFC 4648, the alphabet of section 7,
-- in lower case): 26 characters of five bits for 16 bytes.
create function pseudonym_of(t text) returns bytea language sql immutable as $$
    select decode(string_agg(lpad(to_hex((substring(b from i * 8 + 1 for 8))::integer), 2, '0'), '' order by i), 'hex')
    from (select string_agg((position(substr(t, n, 1) in '0123456789abcdefghijklmnopqrstuv') - 1)::bit(5)::text, '' order by n)::bit(130) as b
          from generate_series(1, 26) n) bits, generate_series(0, 15) i
$$;
update accounts set number = pseudonym_of(split_part(owner, ':', 2)), operator = split_part(owner, ':', 3)
where owner ~ '^subscriber:[0-9a-v]{26}:.';
drop function pseudonym_of(text);
create unique index accounts_subscriber on accounts (number, operator) where number is not null;

-- suspended_account: which one has no money or is barred; SMS that another one pays
-- for are not suspended by it. daily_ceiling: of the person's own choice, tiyin a
-- day; accounts.daily_limit repeats it for admission.
alter table bindings
    add column suspended_account bigint references accounts,
    add column daily_ceiling     bigint check (daily_ceiling >= 0);
update bindings set suspended_account = account_id where sms_suspended;
update bindings b set daily_ceiling = a.daily_limit from accounts a where a.id = b.account_id and b.state = 'active';
