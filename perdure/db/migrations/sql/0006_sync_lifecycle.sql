-- A run that continues as new or is reset keeps its row; Temporal then knows it by another id.
-- NULL means by the same.
ALTER TABLE runs ADD COLUMN temporal_run_id text;

ALTER TABLE syncs
    -- What the next run is to do before it starts; that run takes it.
    ADD COLUMN restart       text CHECK (restart IN ('reset', 'empty_cache')),
    -- The run that began last.
    ADD COLUMN begun_run_id  text,
    -- Place in the stream of changes where that run began to build the records anew, beside those
    -- that readers see; NULL where it does not, and once they took the place of the others.
    ADD COLUMN rebuild_after bigint;

-- Records that are built anew stand in the variant `~<variant>`.
ALTER TABLE records
    DROP CONSTRAINT records_variant_check,
    ADD CONSTRAINT records_variant_check CHECK (length(variant) BETWEEN 1 AND 256) NOT VALID;
