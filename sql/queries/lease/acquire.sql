-- Takes a lease that is free, expired, or held by the same holder; each taking has a new token.
-- Grain: one row when taken, none when another holds it. Parameters: name, holder, seconds.
insert into lease as held (name, token, holder, expires_at)
values (:name, 1, :holder, clock_timestamp() + make_interval(secs => :seconds))
on conflict (name) do update
    set
        token = held.token + 1,
        holder = excluded.holder,
        expires_at = excluded.expires_at
    where held.expires_at <= clock_timestamp() or held.holder = excluded.holder
returning token, expires_at;
