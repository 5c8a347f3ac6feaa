-- Each vacuum and each analyze of a table makes every connection plan its
-- statements on that table anew, all at the same moment: some 20 ms of a
-- processor a connection. With the defaults, made for tables of thousands of
-- rows, the tables that are small and churn were vacuumed every minute for
-- ever, and the codes of that second waited. So: less often where it is of no
-- use. The plans need no statistics (registry/db.go says why).

-- A queue. The relay begins above what it has deleted (registry/relay.go).
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647);

-- A row for each live code, for minutes; found by its key only.
alter table live_challenges set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 100000);
alter table retries set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 100000);

-- Updated with every Message, on the page (HOT).
alter table accounts set (autovacuum_vacuum_threshold = 100000);
alter table idempotency set (autovacuum_vacuum_threshold = 100000, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_threshold = 100000);
