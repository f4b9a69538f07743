-- Where an environment is told what happened, of what, and the key that signs it.
CREATE TABLE webhook_settings (
    environment_id             bigint      PRIMARY KEY REFERENCES environments (id) ON DELETE CASCADE,
    primary_url                text,
    secondary_url              text,
    on_auth_creation           boolean     NOT NULL DEFAULT true,
    on_auth_refresh_error      boolean     NOT NULL DEFAULT true,
    on_sync_completion_always  boolean     NOT NULL DEFAULT false,
    on_sync_error              boolean     NOT NULL DEFAULT true,
    on_async_action_completion boolean     NOT NULL DEFAULT true,
    signing_key                bytea,
    signing_key_created_at     timestamptz,
    CHECK ((signing_key IS NULL) = (signing_key_created_at IS NULL))
);

-- Takes the place of both URLs of the environment.
ALTER TABLE connections ADD COLUMN webhook_url_override text;

-- The outbox: a row is written in the transaction in which happens what it tells of.
CREATE TABLE webhook_deliveries (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    seq             bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    environment_id  bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- The workflow's step that wrote the row: repeating the step writes no second one.
    step            text        NOT NULL,
    number          integer     NOT NULL,
    type            text        NOT NULL CHECK (type IN ('sync', 'auth', 'async_action', 'forward')),
    subject         text        NOT NULL,
    integration     text        NOT NULL,
    connection_id   text        NOT NULL,
    -- No foreign key: what is to be told is told when the connection is gone, too.
    connection_key  bigint      NOT NULL,
    run_id          text,
    target          text        NOT NULL CHECK (target IN ('primary', 'secondary', 'override')),
    url             text        NOT NULL,
    body            text        NOT NULL,
    status          text        NOT NULL DEFAULT 'pending'
                                CHECK (status IN ('pending', 'delivered', 'failed')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    attempts        integer     NOT NULL DEFAULT 0,
    last_attempt_at timestamptz,
    last_status     integer,
    last_error      text,
    UNIQUE (step, number),
    CHECK ((status = 'pending') = (finished_at IS NULL))
);
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (environment_id, seq DESC);
CREATE INDEX webhook_deliveries_undelivered ON webhook_deliveries (environment_id, status, seq DESC)
    WHERE status <> 'delivered';
CREATE INDEX webhook_deliveries_of_run ON webhook_deliveries (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE webhook_attempts (
    id          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    delivery_id uuid        NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    status      integer,
    error       text
);
CREATE INDEX webhook_attempts_in_order ON webhook_attempts (delivery_id, id);
