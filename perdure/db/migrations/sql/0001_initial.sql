-- Bundles: scripts, models and parsed configuration, addressed by content and never changed.
CREATE TABLE bundles (
    hash       text        PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    -- json, not jsonb: what was deployed comes back byte for byte.
    files      json        NOT NULL,
    config     json        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE environments (
    id              bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name            text        NOT NULL UNIQUE CHECK (name <> ''),
    -- SHA-256: the key is a random UUID, so there is nothing for a slow hash to protect.
    secret_key_hash bytea       NOT NULL UNIQUE CHECK (octet_length(secret_key_hash) = 32),
    active_bundle   text        REFERENCES bundles (hash),
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE deployments (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    bundle_hash    text        NOT NULL REFERENCES bundles (hash),
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deployments_by_environment ON deployments (environment_id, id DESC);
CREATE INDEX deployments_by_bundle ON deployments (bundle_hash);

CREATE TABLE integrations (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    unique_key     text        NOT NULL CHECK (length(unique_key) BETWEEN 1 AND 255),
    provider       text        NOT NULL,
    display_name   text        NOT NULL,
    credentials    bytea,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (environment_id, unique_key)
);

CREATE TABLE connections (
    id                bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment_id    bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    integration_id    bigint      NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    connection_id     text        NOT NULL CHECK (length(connection_id) BETWEEN 1 AND 255),
    metadata          jsonb       CHECK (jsonb_typeof(metadata) = 'object'),
    connection_config jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(connection_config) = 'object'),
    tags              jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tags) = 'object'),
    end_user          jsonb       CHECK (jsonb_typeof(end_user) = 'object'),
    credentials       bytea       NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    last_fetched_at   timestamptz,
    UNIQUE (integration_id, connection_id)
);
CREATE INDEX connections_by_environment ON connections (environment_id, id DESC);
CREATE INDEX connections_by_tags ON connections USING gin (tags jsonb_path_ops);

CREATE TABLE syncs (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    connection_key bigint      NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    name           text        NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    variant        text        NOT NULL DEFAULT 'base' CHECK (length(variant) BETWEEN 1 AND 255),
    -- Overrides the interval of the bundle; NULL means as deployed.
    frequency      text,
    -- Start of the last run that succeeded.
    last_sync_date timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (connection_key, name, variant)
);

CREATE TABLE runs (
    -- Run id of Temporal: a workflow that was reset or started again is another run.
    id             text        PRIMARY KEY CHECK (id <> ''),
    workflow_id    text        NOT NULL,
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    kind           text        NOT NULL,
    integration    text,
    connection_id  text,
    -- No foreign key: the history of a connection stays when the connection goes.
    connection_key bigint,
    script         text        NOT NULL,
    variant        text        NOT NULL DEFAULT 'base',
    bundle_hash    text,
    status         text        NOT NULL DEFAULT 'running'
                               CHECK (status IN ('running', 'success', 'failed', 'cancelled', 'timeout')),
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    counts         jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(counts) = 'object'),
    error          json,
    CHECK ((status = 'running') = (finished_at IS NULL))
);
CREATE INDEX runs_newest ON runs (environment_id, started_at DESC, id DESC);
CREATE INDEX runs_of_script ON runs (connection_key, script, variant, started_at DESC);

CREATE TABLE run_logs (
    id      bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run_id  text        NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at      timestamptz NOT NULL,
    level   text        NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    message text        NOT NULL,
    -- json, not jsonb: a line that quotes an odd value must never be refused.
    data    json,
    -- The step that wrote the line: repeating the step does not repeat the line.
    step_id text,
    UNIQUE (run_id, step_id)
);
CREATE INDEX run_logs_in_order ON run_logs (run_id, id);

-- Places in the change stream of records. CACHE must stay 1: a session that held numbers back
-- would hand them out after another session's later ones, and the stream would lose its order.
CREATE SEQUENCE record_changes AS bigint CACHE 1;

CREATE TABLE records (
    connection_key   bigint      NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    model            text        NOT NULL CHECK (length(model) BETWEEN 1 AND 255),
    variant          text        NOT NULL CHECK (length(variant) BETWEEN 1 AND 255),
    external_id      text        NOT NULL CHECK (octet_length(external_id) BETWEEN 1 AND 1024),
    -- json, not jsonb: the API splices the stored text into its answers, keys and numbers keep
    -- the form the source gave them, and \u0000 can be stored.
    payload          json        NOT NULL,
    payload_hash     bytea       NOT NULL CHECK (octet_length(payload_hash) = 16),
    first_seen_at    timestamptz NOT NULL,
    last_modified_at timestamptz NOT NULL,
    deleted_at       timestamptz,
    pruned_at        timestamptz,
    change_seq       bigint      NOT NULL,
    last_run_id      text,
    PRIMARY KEY (connection_key, model, variant, external_id),
    CHECK (last_modified_at >= first_seen_at)
);
CREATE UNIQUE INDEX records_stream ON records (connection_key, model, variant, change_seq);

-- Large Temporal payloads, content-addressed; histories hold only the key.
CREATE TABLE payload_blobs (
    key        text        PRIMARY KEY CHECK (key <> ''),
    data       bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- These bytes live for hours and are on the way of every step: time matters more than space.
ALTER TABLE payload_blobs ALTER COLUMN data SET STORAGE EXTERNAL;
