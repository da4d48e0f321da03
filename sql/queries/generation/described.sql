-- All that is written of each generation of a domain but its artefact's bytes and its evaluation.
-- Grain: one row a generation. Parameters: domain. Units: row_count is decisions that trained it;
-- config, details and reasons are JSON; seal is that of the plan.
select
    g.number,
    g.parent,
    g.policy,
    g.cutoff,
    g.seed,
    g.config,
    g.code_version,
    g.planned_at,
    g.seal,
    t.digest,
    t.row_count,
    t.details,
    t.trained_at,
    v.outcome,
    v.reasons,
    v.note,
    v.judged_at
from generation as g
left join training as t on g.domain = t.domain and g.number = t.number
left join verdict as v on g.domain = v.domain and g.number = v.number
where g.domain = :domain
order by g.number;
