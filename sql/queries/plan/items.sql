-- Where each item stands before the newest decided period, and when its stock ends by the plan.
-- Grain: one row an item. Parameters: domain, plant. Units: stock and lost_expected are units of
-- product; likely_out_at is the first day at whose end the stock is 0 in at least one case of two,
-- may_run_out_at in at least one of twenty, null where no coming day is; made says whether the
-- plan makes it in any coming period, lost_expected is the mean over all of them.
with newest as (
    select
        date_trunc('day', u.observed_at, 'utc') + interval '1 day' as starts_at,
        d.nominal,
        u.payload,
        json_array_length(u.payload -> 'set_up') as m,
        json_array_length(u.payload -> 'inventory') as i
    from unit as u
    inner join decision as d on u.domain = d.domain and d.decision_id = u.unit_id * 64
    where u.domain = :domain and u.payload ->> 'plant' = :plant
    order by u.unit_id desc
    limit 1
),

planned as (
    select
        *,
        cardinality(nominal) / (2 * m + 4 * i + 3) as h
    from newest
)

select
    item,
    cast(min(payload -> 'inventory' ->> (item - 1)) as integer) as stock,
    min(starts_at + ahead * interval '1 day') filter (
        where nominal[2 * m * h + (4 * i + 3) * ahead + i + item] = 0
    ) as likely_out_at,
    min(starts_at + ahead * interval '1 day') filter (
        where nominal[2 * m * h + (4 * i + 3) * ahead + item] = 0
    ) as may_run_out_at,
    sum(nominal[2 * m * h + (4 * i + 3) * ahead + 3 * i + item]) as lost_expected,
    bool_or(exists (
        select from generate_series(1, m) as machine
        where nominal[2 * m * ahead + machine] = item
    )) as made
from planned
cross join lateral generate_series(1, i) as item
cross join lateral generate_series(0, h - 1) as ahead
group by item
order by item;
