-- Where the champion stands between what others reach and what nobody can: the newest evaluation
-- that it took part in, and the candidates that were evaluated with it.
-- Grain: one row a policy, heuristic or bound. Parameters: domain, name_list (of the estimates to
-- tell). Units: role is "champion", "candidate" or "estimate"; cost, lower and upper are cost units
-- a period, lower and upper the interval at `level`; above_bound is cost minus the lower bound,
-- bound_share that over the bound, above_rotation cost minus that of H2; null where there is none.
with chosen as (
    select
        e.number,
        c.number as champion,
        g.cutoff
    from champion as c
    inner join evaluation as e
        on
            c.domain = e.domain
            and (
                (e.number = c.number and e.role = 'candidate')
                or (e.champion = c.number and e.role = 'champion')
            )
    inner join generation as g on e.domain = g.domain and e.number = g.number
    where c.domain = :domain and e.value < 'infinity'
    order by e.evaluated_at desc, e.number desc
    limit 1
),

evaluated as (
    select
        case
            when e.role = 'estimate' then 'estimate'
            when chosen.champion = case e.role when 'candidate' then e.number else e.champion end
                then 'champion'
            else 'candidate'
        end as role,
        case when e.role = 'estimate' then e.name end as name,
        case e.role
            when 'candidate' then e.number
            when 'champion' then e.champion
        end as generation,
        -e.value as cost,
        -e.upper as lower,
        -e.lower as upper,
        e.level,
        e.n,
        e.evaluated_at
    from evaluation as e
    inner join generation as g on e.domain = g.domain and e.number = g.number
    inner join chosen on g.cutoff = chosen.cutoff
    where
        e.domain = :domain
        and e.value < 'infinity'
        and (
            e.role = 'candidate'
            or (e.role = 'champion' and e.number = chosen.number)
            or (
                e.role = 'estimate'
                and e.number = chosen.number
                and e.name = any(cast(:name_list as text []))
            )
        )
)

select
    e.role,
    coalesce(e.name, g.policy) as name,
    e.generation,
    e.cost,
    e.lower,
    e.upper,
    e.level,
    e.n,
    e.evaluated_at,
    e.cost - bound.cost as above_bound,
    (e.cost - bound.cost) / nullif(bound.cost, 0) as bound_share,
    e.cost - rotation.cost as above_rotation
from evaluated as e
left join generation as g on g.domain = :domain and e.generation = g.number
left join evaluated as bound on bound.name = 'lower bound'
left join evaluated as rotation on lower(rotation.name) = 'h2 grouped rotation'
order by e.cost, e.role, name;
