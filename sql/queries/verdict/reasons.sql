-- Each rule that the gate held a generation against, as JSON, and what was measured.
-- Grain: one row a verdict.
select
    v.domain,
    v.number,
    v.reasons,
    v.note
from verdict as v
order by v.domain, v.number;
