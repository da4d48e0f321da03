-- Notes up to which seal all units of a domain have a decision or stand in quarantine.
-- Grain: one row. Parameters: domain, seal.
insert into decided_through as known (domain, seal)
values (:domain, :seal)
on conflict (domain) do update
    set seal = greatest(known.seal, excluded.seal);
