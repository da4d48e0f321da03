-- How each policy learned: of every name, the newest generation that recorded its curve on the
-- instance of the newest unit; what costs are on another instance is no comparison.
-- Grain: one row a policy and point of its curve. Parameters: domain. Units: kind is the policy's
-- name without the number of its seed; steps are periods simulated in training; cost, lower and
-- upper are cost units a period, lower and upper the interval around it.
select
    regexp_replace(newest.policy, '-[0-9]+$', '') as kind,
    newest.policy,
    newest.number,
    newest.plant,
    cast(point.value ->> 0 as double precision) as steps,
    -cast(point.value ->> 1 as double precision) as cost,
    -cast(point.value ->> 3 as double precision) as lower,
    -cast(point.value ->> 2 as double precision) as upper
from (
    select distinct on (g.policy)
        g.policy,
        g.number,
        t.details ->> 'plant' as plant,
        t.details -> 'curve' as curve
    from generation as g
    inner join training as t on g.domain = t.domain and g.number = t.number
    where
        g.domain = :domain
        and json_typeof(t.details -> 'curve') = 'array'
        and t.details ->> 'instance' = (
            select u.payload ->> 'instance'
            from unit as u
            where u.domain = :domain
            order by u.unit_id desc
            limit 1
        )
    order by g.policy asc, g.number desc
) as newest
cross join lateral json_array_elements(newest.curve) as point
order by newest.policy, steps;
