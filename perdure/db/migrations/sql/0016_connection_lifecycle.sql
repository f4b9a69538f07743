ALTER TABLE connections
    -- Grows with each time credentials are given. What follows from that (checks, hooks, schedules)
    -- is done up to `set_up_version`, and the checks alone up to `validated_version`; none is
    -- outstanding where credentials came in without a workflow.
    ADD COLUMN credentials_version bigint NOT NULL DEFAULT 1,
    ADD COLUMN validated_version   bigint NOT NULL DEFAULT 1,
    ADD COLUMN set_up_version      bigint NOT NULL DEFAULT 1,
    -- The run that refused the credentials; NULL while nothing is known against them.
    ADD COLUMN auth_error_run_id   text,
    -- Since when the connection is being deleted: nothing new starts for it.
    ADD COLUMN deleting_since      timestamptz;

-- Connections whose setting up was begun and has not ended.
CREATE INDEX connections_not_set_up ON connections (id) WHERE set_up_version < credentials_version;
