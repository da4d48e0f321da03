-- How many decisions are stored, and how many of them others took: generation 0 of a log, or of no
-- nominal action.
-- Grain: one row. Parameters: domain, logged (whether the domain brings a log).
select
    count(*) as present,
    count(*) filter (
        where generation = 0 and (cardinality(nominal) = 0 or :logged)
    ) as elsewhere
from decision
where domain = :domain;
