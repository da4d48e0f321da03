-- The bytes of a generation's policy, with the digest recorded for them.
-- Grain: one row, none before it is trained. Parameters: domain, number.
select t.digest, a.content
from training as t
inner join artifact as a on t.digest = a.digest
where t.domain = :domain and t.number = :number
order by t.number;
