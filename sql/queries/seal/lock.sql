-- Makes writers take turns until the end of the transaction.
-- Grain: one row, empty. Parameters: key.
select pg_advisory_xact_lock(:key);
