-- Between which ids the decisions of a span of time lie; others lie between them, too.
-- Grain: one row. Parameters: domain, since and until (of decided_at, both included). Units: low
-- and high are decision ids, both included; null when no batch holds such a decision.
select min(first_decision_id) as low, max(last_decision_id) as high
from tally
where domain = :domain and last_decided_at >= :since and first_decided_at <= :until;
