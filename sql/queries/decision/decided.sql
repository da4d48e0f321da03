-- When some decisions were taken.
-- Grain: one row a decision found. Parameters: domain, id_list.
select decision_id, decided_at
from decision
where domain = :domain and decision_id = any(:id_list)
order by decision_id;
