-- How often a webhook was sent again on request: a workflow of an earlier time has no say any more.
ALTER TABLE webhook_deliveries ADD COLUMN opening integer NOT NULL DEFAULT 0;
