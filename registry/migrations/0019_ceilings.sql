-- 0017 gave a binding the ceiling of its account. A number that had moved before has
-- accounts elsewhere, whose admission does not know of it.
update accounts a set daily_limit = b.daily_ceiling from bindings b
where b.number = a.number and b.state = 'active' and a.daily_limit is distinct from b.daily_ceiling;
