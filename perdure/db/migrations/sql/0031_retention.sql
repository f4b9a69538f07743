-- When a payload was last stored or read, to the day: what no history can name any more is swept.
-- A payload that is there already counts as used now.
ALTER TABLE payload_blobs
    ADD COLUMN used_at timestamptz NOT NULL DEFAULT now(),
    DROP COLUMN created_at;
CREATE INDEX payload_blobs_used ON payload_blobs (used_at);

-- Deliveries that have ended are removed in the order of their ends.
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at)
 WHERE finished_at IS NOT NULL;
