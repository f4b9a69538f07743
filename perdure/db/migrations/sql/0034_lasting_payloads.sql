-- Whether a payload is needed for as long as a history names it. Of those that are there already
-- nobody knows who stored them.
ALTER TABLE payload_blobs ADD COLUMN IF NOT EXISTS lasting boolean NOT NULL DEFAULT true;
