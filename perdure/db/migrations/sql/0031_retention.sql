-- When a payload was last stored or read, to the day: what no history can name any more is swept.
-- A payload that is there already counts as used now.
ALTER TABLE payload_blobs
    ADD COLUMN IF NOT EXISTS used_at timestamptz NOT NULL DEFAULT now(),
    DROP COLUMN IF EXISTS created_at;
