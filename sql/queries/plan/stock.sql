-- Stock and lost sales of each item: in the newest periods as they were, then in the coming ones as
-- the newest nominal plan lets expect.
-- Grain: one row a period and item. Parameters: domain, plant, periods (decided ones at most).
-- Units: of product. stock is that at the end of the period, before at its start, demand and lost
-- what was asked and not met; null where it is to come. There, one time in twenty stock ends below
-- low, in twenty above high, and in two below middle; lost_expected is a mean. made is net, as it
-- was or as it is planned.
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
        lead(payload) over (order by unit_id) as after,
        row_number() over (order by unit_id desc) as age
    from decided
),

planned as (
    select
        *,
        cardinality(nominal) / (2 * m + 4 * i + 3) as h
    from followed
    where age = 1
)

select
    period,
    starts_at,
    'past' as state,
    item,
    cast(payload -> 'inventory' ->> (item - 1) as integer) as before,
    cast(after -> 'inventory' ->> (item - 1) as integer) as stock,
    cast(after -> 'demand' ->> (item - 1) as integer) as demand,
    cast(after -> 'lost' ->> (item - 1) as integer) as lost,
    cast(after -> 'produced' ->> (item - 1) as double precision) as made,
    cast(null as double precision) as low,
    cast(null as double precision) as middle,
    cast(null as double precision) as high,
    cast(null as double precision) as lost_expected
from followed
cross join lateral generate_series(1, i) as item
where cast(after ->> 'period' as integer) = period + 1
union all
select
    period + ahead,
    starts_at + ahead * interval '1 day',
    case when ahead = 0 then 'now' else 'planned' end,
    item,
    case when ahead = 0 then cast(payload -> 'inventory' ->> (item - 1) as integer) end,
    null,
    null,
    null,
    (
        select coalesce(sum(nominal[2 * m * ahead + m + machine]), 0)
        from generate_series(1, m) as machine
        where nominal[2 * m * ahead + machine] = item
    ),
    nominal[2 * m * h + (4 * i + 3) * ahead + item],
    nominal[2 * m * h + (4 * i + 3) * ahead + i + item],
    nominal[2 * m * h + (4 * i + 3) * ahead + 2 * i + item],
    nominal[2 * m * h + (4 * i + 3) * ahead + 3 * i + item]
from planned
cross join lateral generate_series(0, h - 1) as ahead
cross join lateral generate_series(1, i) as item
order by starts_at, item;
