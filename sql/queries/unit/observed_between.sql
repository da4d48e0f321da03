-- The units in a range of ids, and when each was observed (microseconds since 1970).
-- Grain: one row, of two arrays by unit id. Parameters: domain, low and high (both included),
-- most (units at most).
select
    coalesce(array_agg(u.unit_id order by u.unit_id), '{}') as unit_ids,
    coalesce(
        array_agg(
            cast(extract(epoch from u.observed_at) * 1000000 as bigint) order by u.unit_id
        ),
        '{}'
    ) as instants
from (
    select unit_id, observed_at
    from unit
    where domain = :domain and unit_id between :low and :high
    order by unit_id
    limit :most
) as u;
