-- Public name of an environment in addresses that others are given: it stays when it is renamed.
ALTER TABLE environments ADD COLUMN uuid uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE environments ADD CONSTRAINT environments_uuid_key UNIQUE (uuid);

ALTER TABLE integrations
    ADD COLUMN forward_webhooks boolean NOT NULL DEFAULT false,
    -- Take the place of the provider's, mapping by mapping.
    ADD COLUMN webhook_rules    jsonb   CHECK (jsonb_typeof(webhook_rules) = 'object');

-- A webhook names its connection by what stands in these.
CREATE INDEX connections_by_metadata ON connections USING gin (metadata jsonb_path_ops);
CREATE INDEX connections_by_config ON connections USING gin (connection_config jsonb_path_ops);

-- What providers have sent: a row is there before they are answered.
CREATE TABLE webhook_events (
    id             uuid        PRIMARY KEY,
    seq            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    integration_id bigint      NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    integration    text        NOT NULL,
    -- The provider's name of the delivery; a repetition has the same.
    delivery_id    text        CHECK (length(delivery_id) <= 255),
    types          text[]      NOT NULL,
    headers        json        NOT NULL,
    query          json        NOT NULL,
    -- Encrypted, bound to the row.
    body           bytea       NOT NULL,
    received_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (integration_id, delivery_id)
);
CREATE INDEX webhook_events_newest ON webhook_events (environment_id, seq DESC);
CREATE INDEX webhook_events_oldest ON webhook_events (received_at);

-- What is to be done about them: one script for one connection each, in the order of the ids.
CREATE TABLE webhook_tasks (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    event_id       uuid        NOT NULL REFERENCES webhook_events (id) ON DELETE CASCADE,
    environment    text        NOT NULL,
    -- No foreign key: a connection that goes leaves what was done for it.
    connection_key bigint      NOT NULL,
    connection_id  text        NOT NULL,
    sync           text        NOT NULL,
    status         text        NOT NULL DEFAULT 'pending'
                               CHECK (status IN ('pending', 'running', 'success', 'failed',
                                                 'cancelled', 'timeout', 'skipped')),
    run_id         text,
    error          json,
    created_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    CHECK ((status IN ('pending', 'running')) = (finished_at IS NULL))
);
CREATE INDEX webhook_tasks_of_event ON webhook_tasks (event_id);
CREATE INDEX webhook_tasks_open ON webhook_tasks (connection_key, id) WHERE finished_at IS NULL;

-- What a provider sent and is handed on goes with its headers, and may concern no connection.
ALTER TABLE webhook_deliveries
    ADD COLUMN headers json,
    ADD COLUMN event_id uuid,
    ALTER COLUMN connection_id DROP NOT NULL,
    ALTER COLUMN connection_key DROP NOT NULL;
CREATE INDEX webhook_deliveries_of_event ON webhook_deliveries (event_id)
    WHERE event_id IS NOT NULL;
-- Those that nobody has tried yet are looked for all the time.
CREATE INDEX webhook_deliveries_untried ON webhook_deliveries (seq)
    WHERE status = 'pending' AND attempts = 0;
