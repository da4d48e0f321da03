-- Between which numbers the seals of a domain and a span lie.
-- Grain: one row. Its numbers are null where there is no such seal. Parameters: domain (null for any), since and until
-- (of sealed_at, until excluded; null for open).
select
    min(number) as first_number,
    max(number) as last_number
from seal
where
    (cast(:domain as text) is null or domain = :domain)
    and (cast(:since as timestamptz) is null or sealed_at >= :since)
    and (cast(:until as timestamptz) is null or sealed_at < :until);
