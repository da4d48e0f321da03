-- The digests of all policies that sealed rows name, stored or not.
-- Grain: one row a policy.
select distinct digest
from training
order by digest;
