-- Stores bytes under their digest.
-- Grain: one row. Parameters: digest (SHA-256, hexadecimal), content.
insert into artifact (digest, content)
values (:digest, :content)
on conflict (digest) do nothing;
