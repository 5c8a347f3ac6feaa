-- What a Message brings along when it is admitted again: how often the operator
-- has asked for later, which some refusals bound, and which parts of its text he
-- has taken, a bit each, so that they are not written again.
alter table messages add column tries smallint not null default 0, add column parts_taken bigint not null default 0;
