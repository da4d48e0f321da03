-- Some decisions with their units; taken_elsewhere where others took them (see replayable).
-- Grain: one row a decision found. Parameters: domain, id_list.
select
    d.decision_id,
    d.unit_id,
    d.slot,
    d.parent_id,
    d.generation,
    d.arm,
    d.decided_at,
    d.eligible,
    d.scores,
    d.probabilities,
    d.action,
    d.nominal,
    d.propensity,
    d.arm_propensity,
    d.uniform,
    u.reference,
    u.observed_at,
    u.payload,
    starts_with(s.batch, 'ingest/')
    or (d.generation = 0 and cardinality(d.nominal) = 0) as taken_elsewhere
from decision as d
inner join unit as u on d.domain = u.domain and d.unit_id = u.unit_id
inner join seal as s on d.seal = s.number
where d.domain = :domain and d.decision_id = any(:id_list)
order by d.decision_id;
