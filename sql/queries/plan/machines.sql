-- What each machine makes: in the newest periods as decided, then in the coming ones as the newest
-- nominal plan has them.
-- Grain: one row a period and machine. Parameters: domain, plant, periods (decided ones at most).
-- Units: a period is the day (UTC) from starts_at, the one after its unit was observed; state is
-- "past", "now" (the newest decided period) or "planned"; item and item_before are numbers from 1,
-- 0 for idle; set_up says whether the machine changes over; quantity is net, in units of product;
-- costs are of all machines and items of the period, in cost units, realised null while it is not
-- known. A nominal action is the plan of h periods (items by machine, then
-- quantities by machine), then its forecast of each (see `domains.lotsizing.forecast`).
with decided as (
    select
        date_trunc('day', u.observed_at, 'utc') + interval '1 day' as starts_at,
        d.decision_id,
        d.action,
        d.nominal,
        u.payload,
        cast(u.payload ->> 'period' as integer) as period,
        json_array_length(u.payload -> 'set_up') as m,
        json_array_length(u.payload -> 'inventory') as i,
        -d.scores[1] as expected_cost,
        -case when o.observed_at >= c.observed_at or c.reward is null then o.reward else c.reward end
            as realised_cost,
        row_number() over (order by u.unit_id desc) as age
    from unit as u
    inner join decision as d on u.domain = d.domain and d.decision_id = u.unit_id * 64
    left join outcome as o on d.domain = o.domain and d.decision_id = o.decision_id
    left join latest_correction as c on d.domain = c.domain and d.decision_id = c.decision_id
    where u.domain = :domain and u.payload ->> 'plant' = :plant
    order by u.unit_id desc
    limit :periods
),

planned as (
    select
        *,
        cardinality(nominal) / (2 * m + 4 * i + 3) as h
    from decided
    where age = 1
)

select
    period,
    starts_at,
    case when age = 1 then 'now' else 'past' end as state,
    machine,
    cast(action[machine] as integer) as item,
    cast(payload -> 'set_up' ->> (machine - 1) as integer) as item_before,
    action[machine] not in (0, cast(payload -> 'set_up' ->> (machine - 1) as integer)) as set_up,
    action[m + machine] as quantity,
    expected_cost,
    realised_cost,
    decision_id
from decided
cross join lateral generate_series(1, m) as machine
union all
select
    period + ahead,
    starts_at + ahead * interval '1 day',
    'planned',
    machine,
    cast(nominal[2 * m * ahead + machine] as integer),
    cast(nominal[2 * m * (ahead - 1) + machine] as integer),
    nominal[2 * m * ahead + machine] not in (0, nominal[2 * m * (ahead - 1) + machine]),
    nominal[2 * m * ahead + m + machine],
    nominal[2 * m * h + (4 * i + 3) * ahead + 4 * i + 1]
    + nominal[2 * m * h + (4 * i + 3) * ahead + 4 * i + 2]
    + nominal[2 * m * h + (4 * i + 3) * ahead + 4 * i + 3],
    null,
    null
from planned
cross join lateral generate_series(1, h - 1) as ahead
cross join lateral generate_series(1, m) as machine
order by starts_at, machine;
