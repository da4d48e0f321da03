-- Units that a generation could not decide, for a reason that time alone does not mend.
-- Grain: one row a unit. Parameters: domain, generation, passing (reasons that time mends).
select distinct cast(cast(content as json) ->> 'unit_id' as bigint) as unit_id
from quarantine
where
    domain = :domain
    and kind = 'decision'
    and cast(content as json) ->> 'generation' = cast(cast(:generation as integer) as text)
    and not reason = any(:passing)
order by unit_id;
