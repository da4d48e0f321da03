-- What the policy that decided the newest measured cycle gains over the reference of its domain: the
-- mean of the cycles that it decided, weighted by the inverse of their variance.
-- Grain: one row a domain. Units: gain, its 95 % interval lower to upper, and the same against the
-- control slice, null where there is none, are in the domain's reward; way is "all traffic" (or
-- simulation), "control", or "evaluation", the one that promoted a champion over the baseline;
-- cycles were measured up to cutoff, and count as independent. A cycle without a standard error
-- does not count: greatest ignores nulls, and would make a missing error a small one.
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
        max(value) filter (where name = 'value_se') as error,
        max(value) filter (where name = 'over_control') as over_control,
        max(value) filter (where name = 'over_control_se') as over_control_error
    from measurement
    where series = 'deployed'
    group by domain, cutoff
),

weighed as (
    select
        *,
        case when gain is not null and error is not null then 1 / greatest(error, 1e-9) ^ 2 end
            as weight,
        case
            when over_control is not null and over_control_error is not null
                then 1 / greatest(over_control_error, 1e-9) ^ 2
        end as over_control_weight
    from cycle
),

newest as (
    select distinct on (domain) domain, generation, way
    from weighed
    where way is not null and weight is not null
    order by domain, cutoff desc
),

pooled as (
    select
        c.domain,
        c.generation,
        c.way,
        max(c.cutoff) as cutoff,
        cast(count(*) as integer) as cycles,
        sum(c.gain * c.weight) / sum(c.weight) as gain,
        1.96 / sqrt(sum(c.weight)) as half,
        sum(c.over_control * c.over_control_weight) / sum(c.over_control_weight) as over_control,
        1.96 / sqrt(sum(c.over_control_weight)) as over_control_half
    from weighed as c
    inner join newest as n
        on c.domain = n.domain and c.generation = n.generation and c.way = n.way
    where c.weight is not null
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
