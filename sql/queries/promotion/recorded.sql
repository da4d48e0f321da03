-- Every change of champion as it was written down: for which time, by whom, why, and when.
-- Grain: one row a promotion, the last written first. Units: verdict is the gate's, null where it
-- gave none.
select
    p.domain,
    p.number,
    g.policy,
    p.promoted_at,
    p.promoted_by,
    p.reason,
    v.outcome as verdict,
    g.code_version,
    p.seal,
    s.sealed_at
from promotion as p
inner join generation as g on p.domain = g.domain and p.number = g.number
inner join seal as s on p.seal = s.number
left join verdict as v on p.domain = v.domain and p.number = v.number
order by p.seal desc;
