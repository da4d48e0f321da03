-- Counts the decisions of a group of one sealed batch.
-- Grain: one row. Parameters: domain, seal, generation, arm, decisions, first_decided_at,
-- last_decided_at, first_decision_id, last_decision_id.
insert into tally (
    domain, seal, generation, arm, decisions, first_decided_at, last_decided_at,
    first_decision_id, last_decision_id
)
values (
    :domain, :seal, :generation, :arm, :decisions, :first_decided_at, :last_decided_at,
    :first_decision_id, :last_decision_id
);
