-- The highest connection that was brought into line with the deployment, and when all of them were.
ALTER TABLE deployments
    ADD COLUMN reconciled_to bigint NOT NULL DEFAULT 0,
    ADD COLUMN reconciled_at timestamptz;
UPDATE deployments SET reconciled_at = created_at;
