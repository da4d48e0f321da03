-- What each period cost and what it was expected to cost, part by part.
-- Grain: one row a period and part. Parameters: domain, plant, periods (decided ones at most).
-- Units: cost units. part is "set-up", "lost sales" or "holding"; expected is what the plan said of
-- the period when it was decided, or says of it now where it is to come; realised is null there.
with decided as (
    select
        u.unit_id,
        date_trunc('day', u.observed_at, 'utc') + interval '1 day' as starts_at,
        d.nominal,
        u.payload,
        cast(u.payload ->> 'period' as integer) as period,
        json_array_length(u.payload -> 'set_up') as m,
        json_array_length(u.payload -> 'inventory') as i
    from unit as u
    inner join decision as d on u.domain = d.domain and d.decision_id = u.unit_id * 64
    where u.domain = :domain and u.payload ->> 'plant' = :plant
    order by u.unit_id desc
    limit :periods
),

followed as (
    select
        *,
        cardinality(nominal) / (2 * m + 4 * i + 3) as h,
        lead(payload) over (order by unit_id) as after,
        row_number() over (order by unit_id desc) as age
    from decided
),

parts (place, part, field) as (
    values (1, 'set-up', 'setup_cost'), (2, 'lost sales', 'lost_cost'), (3, 'holding', 'holding_cost')
)

select
    period + ahead as period,
    starts_at + ahead * interval '1 day' as starts_at,
    case when age > 1 then 'past' when ahead = 0 then 'now' else 'planned' end as state,
    place,
    part,
    case
        when ahead = 0 and cast(after ->> 'period' as integer) = period + 1
            then cast(after ->> field as double precision)
    end as realised,
    nominal[2 * m * h + (4 * i + 3) * ahead + 4 * i + place] as expected
from followed
cross join lateral generate_series(0, case when age = 1 then h - 1 else 0 end) as ahead
cross join parts
order by starts_at, place;
