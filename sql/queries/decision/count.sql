-- How many decisions were taken in a span.
-- Grain: one row. Parameters: domain, since, until (excluded), low and high (decision ids, both
-- included, between which those of the span lie: see tally/span).
select count(*) as decisions
from decision
where
    domain = :domain
    and decided_at >= :since
    and decided_at < :until
    and decision_id between :low and :high;
