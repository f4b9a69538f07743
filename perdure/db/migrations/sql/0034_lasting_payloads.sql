-- Whether a payload is needed for as long as a history names it. Of those that are there already
-- nobody knows who stored them.
ALTER TABLE payload_blobs ADD COLUMN lasting boolean NOT NULL DEFAULT true;
DROP INDEX payload_blobs_used;
CREATE INDEX payload_blobs_used ON payload_blobs (lasting, used_at);
