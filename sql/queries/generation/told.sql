-- All that is told about each trained generation but its artefact and evaluation.
-- Grain: one row a trained generation. Parameters: domain.
select
    g.number,
    g.parent,
    g.policy,
    g.cutoff,
    g.seed,
    g.config,
    g.code_version,
    t.digest,
    t.row_count,
    v.outcome,
    v.note,
    v.reasons
from generation as g
inner join training as t on g.domain = t.domain and g.number = t.number
left join verdict as v on g.domain = v.domain and g.number = v.number
where g.domain = :domain
order by g.number;
