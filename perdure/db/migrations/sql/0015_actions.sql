-- How many asynchronous actions run at the same time.
CREATE TABLE action_settings (
    environment_id    bigint  PRIMARY KEY REFERENCES environments (id) ON DELETE CASCADE,
    environment_limit integer NOT NULL CHECK (environment_limit > 0),
    connection_limit  integer NOT NULL CHECK (connection_limit > 0)
);

CREATE TABLE disabled_actions (
    environment_id bigint NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    integration    text   NOT NULL,
    action         text   NOT NULL,
    PRIMARY KEY (environment_id, integration, action)
);

-- Calls that carry an idempotency key, by the id that follows from it.
CREATE TABLE action_keys (
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    id             uuid        NOT NULL,
    -- Of the action and its input.
    fingerprint    bytea       NOT NULL CHECK (octet_length(fingerprint) = 16),
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (environment_id, id)
);

-- Asynchronous actions that wait for their turn, have it, or have had it.
CREATE TABLE action_queue (
    place          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    workflow_id    text        NOT NULL UNIQUE,
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- No foreign key: an action of a connection that is gone still ends.
    connection_key bigint      NOT NULL,
    ordered        boolean     NOT NULL,
    admitted_at    timestamptz,
    ended_at       timestamptz
);
CREATE INDEX action_queue_waiting ON action_queue (environment_id, place)
 WHERE admitted_at IS NULL AND ended_at IS NULL;
CREATE INDEX action_queue_running ON action_queue (environment_id, connection_key)
 WHERE admitted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX action_queue_in_order ON action_queue (connection_key, place)
 WHERE ordered AND ended_at IS NULL;
CREATE INDEX action_queue_ended ON action_queue (environment_id, ended_at)
 WHERE ended_at IS NOT NULL;

CREATE INDEX runs_by_workflow ON runs (workflow_id);
