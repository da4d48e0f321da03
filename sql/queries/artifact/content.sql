-- The bytes stored under a digest; null when they are gone.
-- Grain: one row. Parameters: digest.
select a.content
from (select cast(:digest as text) as digest) as wanted
left join artifact as a on wanted.digest = a.digest
order by wanted.digest;
