-- Appends a link to the chain.
-- Grain: one row. Units: digests are SHA-256, fingerprints eight bytes a sealed row.
insert into seal (
    number, domain, kind, batch, part, row_count, sealed_at, content, fingerprints, previous, digest
)
values (
    :number, :domain, :kind, :batch, :part, :row_count, :sealed_at, :content, :fingerprints,
    :previous, :digest
);
