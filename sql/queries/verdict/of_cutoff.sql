-- The verdicts over the candidates of one cut-off.
-- Grain: one row a judged generation. Parameters: domain, cutoff.
select v.number, v.outcome, v.reasons, v.note, v.judged_at
from verdict as v
inner join generation as g on v.domain = g.domain and v.number = g.number
where v.domain = :domain and g.cutoff = :cutoff
order by v.number;
