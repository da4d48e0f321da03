-- What the policy that decided the newest measured cycle gains over the reference of its domain: the
-- mean of the cycles that it decided, weighted by the inverse of their variance.
-- Grain: one row a domain. Units: gain, its 95 % interval lower to upper, and the same against the
-- control slice, null where there is none, are in the domain's reward; way is "all traffic" (or
-- simulation), "control", or "evaluation", the one that promoted a champion over the baseline;
-- cycles were measured up to cutoff, and count as independent.
with cycle as (
    select
        domain,
        cutoff,
        max(value) filter (where name = 'generation') as generation,
        case
            when max(value) filter (where name = 'gain') is not null then 'all traffic'
            when max(value) filter (where name = 'control') is not null then 'control'
        end as way,
        max(value) filter (where name = 'value') as gain,
        greatest(max(value) filter (where name = 'value_se'), 1e-9) as error,
        max(value) filter (where name = 'over_control') as over_control,
        greatest(max(value) filter (where name = 'over_control_se'), 1e-9) as over_control_error
    from measurement
    where series = 'deployed'
    group by domain, cutoff
),

newest as (
    select distinct on (domain) domain, generation, way
    from cycle
    where way is not null and error is not null
    order by domain, cutoff desc
),

pooled as (
    select
        c.domain,
        c.generation,
        c.way,
        max(c.cutoff) as cutoff,
        cast(count(*) as integer) as cycles,
        sum(c.gain / c.error ^ 2) / sum(1 / c.error ^ 2) as gain,
        1.96 / sqrt(sum(1 / c.error ^ 2)) as half,
        sum(c.over_control / c.over_control_error ^ 2) / sum(1 / c.over_control_error ^ 2)
            as over_control,
        1.96 / sqrt(sum(1 / c.over_control_error ^ 2)) as over_control_half
    from cycle as c
    inner join newest as n
        on c.domain = n.domain and c.generation = n.generation and c.way = n.way
    where c.error is not null
    group by c.domain, c.generation, c.way
)

select
    domain,
    cast(generation as integer) as generation,
    way,
    cutoff,
    cycles,
    gain,
    gain - half as lower,
    gain + half as upper,
    over_control,
    over_control - over_control_half as over_control_lower,
    over_control + over_control_half as over_control_upper
from pooled
union all
select
    c.domain,
    c.number,
    'evaluation',
    g.cutoff,
    1,
    e.value,
    e.lower,
    e.upper,
    null,
    null,
    null
from champion as c
inner join generation as g on c.domain = g.domain and c.number = g.number
inner join evaluation as e
    on c.domain = e.domain and c.number = e.number and e.role = 'difference' and e.champion = 0
where
    not exists (select from pooled as p where p.domain = c.domain)
    and not exists (
        select from evaluation as r
        where r.domain = c.domain and r.number = c.number and r.role = 'refusal'
    )
order by domain;
