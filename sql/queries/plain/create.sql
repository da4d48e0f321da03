-- A bare table with the columns of decision, for comparison: no key, index, check or trigger.
-- Grain: one row a decision.
create table plain_decision (like decision);
