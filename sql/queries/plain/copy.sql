-- Copies decisions, in the order of decision's columns, into the bare table.
-- Grain: one row a decision.
copy plain_decision from stdin (format binary);
