-- Every change of champion, of every domain, in the order in which they happened.
-- Grain: one row a promotion.
select
    p.domain,
    p.number,
    g.policy,
    p.promoted_at,
    p.promoted_by,
    p.reason
from promotion as p
inner join generation as g on p.domain = g.domain and p.number = g.number
order by p.domain, p.promoted_at, p.seal;
