-- How much was sealed of a domain in a span.
-- Grain: one row. Parameters: domain, since and until (of sealed_at, until excluded; null for
-- open).
select
    count(*) as seals,
    cast(coalesce(sum(row_count), 0) as bigint) as rows
from seal
where
    domain = :domain
    and (cast(:since as timestamptz) is null or sealed_at >= :since)
    and (cast(:until as timestamptz) is null or sealed_at < :until);
