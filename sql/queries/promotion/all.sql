-- Every change of champion, of every domain, in the order in which they happened. The baseline was
-- champion always; it is shown from its cut-off on, or from the next change if that came before.
-- Grain: one row a promotion.
select
    p.domain,
    p.number,
    g.policy,
    case
        when p.promoted_by = 'begin'
            then least(
                g.cutoff,
                lead(p.promoted_at) over (
                    partition by p.domain
                    order by p.promoted_at, p.seal
                )
            )
        else p.promoted_at
    end as promoted_at,
    p.promoted_by,
    p.reason
from promotion as p
inner join generation as g on p.domain = g.domain and p.number = g.number
order by p.domain, p.promoted_at, p.seal;
