-- Candidates that the gate held in favour of a champion, with the evidence of all their rows so
-- far; without those that a later look rejected or promoted. One whose latest rows it would have
-- decided as the champion did (unchanged) may differ on the next.
-- Grain: one row a generation. Parameters: domain, champion, before (their cut-offs, excluded).
-- Units: until is the end of the rows of its latest review, null where there was none; candidates
-- is how many its cut-off had, without the unchanged.
select
    g.number,
    g.cutoff,
    v.reasons,
    r.until,
    coalesce(cast(r.evidence as text), e.note) as evidence,
    (
        select count(*)
        from generation as other
        where
            other.domain = g.domain
            and other.cutoff = g.cutoff
            and other.parent is not null
            and not exists (
                select from evaluation as same
                where
                    same.domain = other.domain
                    and same.number = other.number
                    and same.role = 'unchanged'
            )
    ) as candidates
from generation as g
inner join verdict as v on g.domain = v.domain and g.number = v.number
inner join evaluation as e
    on g.domain = e.domain and g.number = e.number and e.role = 'evidence'
left join lateral (
    select
        each.until,
        each.evidence,
        each.outcome
    from review as each
    where each.domain = g.domain and each.number = g.number
    order by each.cutoff desc
    limit 1
) as r on true
where
    g.domain = :domain
    and g.parent = :champion
    and g.cutoff < :before
    and v.outcome = 'hold'
    and coalesce(r.outcome, 'hold') in ('hold', 'unchanged')
order by g.number;
