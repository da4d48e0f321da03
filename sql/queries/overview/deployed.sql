-- The newest cycles of the deployed policy of every domain.
-- Grain: one row a domain and cycle. Parameters: cycles (at most, of each domain). Units: gain is
-- the mean reward minus that of the reference, lower and upper its 95 % interval, in the domain's
-- reward; null where the cycle had nothing to be compared with.
select
    domain,
    cutoff,
    gain,
    gain - 1.96 * value_se as lower,
    gain + 1.96 * value_se as upper
from (
    select
        domain,
        cutoff,
        case
            when count(*) filter (where name in ('control', 'gain')) > 0
                then max(value) filter (where name = 'value')
        end as gain,
        max(value) filter (where name = 'value_se') as value_se,
        row_number() over (
            partition by domain
            order by cutoff desc
        ) as age
    from measurement
    where series = 'deployed'
    group by domain, cutoff
) as cycle
where age <= :cycles
order by domain, cutoff;
