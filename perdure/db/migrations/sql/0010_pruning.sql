-- Up to which place in the stream the payloads of a set were given up.
ALTER TABLE record_counts ADD COLUMN pruned_to bigint NOT NULL DEFAULT 0;
