-- Ends a lease now; its token stays, so that the next one is higher.
-- Grain: one row. Parameters: name, token.
update lease
set expires_at = clock_timestamp()
where name = :name and token = :token;
