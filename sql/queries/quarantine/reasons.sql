-- Why rows were set aside.
-- Grain: one row a domain, kind and reason, the most frequent first.
select
    domain,
    kind,
    reason,
    count(*) as rows,
    min(quarantined_at) as first_quarantined_at,
    max(quarantined_at) as last_quarantined_at
from quarantine
group by domain, kind, reason
order by rows desc, domain, kind, reason;
