-- Some decisions with their units.
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
    u.payload
from decision as d
inner join unit as u on d.domain = u.domain and d.unit_id = u.unit_id
where d.domain = :domain and d.decision_id = any(:id_list)
order by d.decision_id;
