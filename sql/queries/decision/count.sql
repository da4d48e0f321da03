-- How many decisions were taken in a span.
-- Grain: one row. Parameters: domain, since, until (excluded), high (an id past those of the span).
select count(*) as decisions
from decision
where
    domain = :domain
    and decided_at >= :since
    and decided_at < :until
    and decision_id < :high;
