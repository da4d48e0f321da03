-- How many cut-offs were judged: each is one look of the gate, but for those at which every
-- candidate was unchanged.
-- Grain: one row. Parameters: domain, since (excluded), until (included).
select count(distinct g.cutoff) as cutoffs
from verdict as v
inner join generation as g on v.domain = g.domain and v.number = g.number
where
    v.domain = :domain
    and g.cutoff > :since
    and g.cutoff <= :until
    and v.outcome <> 'unchanged'
order by cutoffs;
