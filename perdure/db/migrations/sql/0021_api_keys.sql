-- Keys of an environment besides its secret key: each with a name, and only what its scopes allow.
CREATE TABLE api_keys (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    name           text        NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    -- SHA-256: the key is a random UUID, so there is nothing for a slow hash to protect.
    key_hash       bytea       NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    -- Its last characters, by which people tell keys apart.
    ending         text        NOT NULL,
    scopes         text[]      NOT NULL CHECK (cardinality(scopes) > 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz,
    -- To the minute.
    last_used_at   timestamptz,
    revoked_at     timestamptz
);
-- The name of a key that was revoked can be given again.
CREATE UNIQUE INDEX api_keys_by_name ON api_keys (environment_id, name) WHERE revoked_at IS NULL;

-- An environment that was made by the API has API keys only.
ALTER TABLE environments ALTER COLUMN secret_key_hash DROP NOT NULL;

-- What was done by whom. A row is there before the act begins; its status comes with its end.
CREATE TABLE audit_events (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at             timestamptz NOT NULL DEFAULT now(),
    -- No foreign key: what was done stays when the environment goes.
    environment_id bigint      NOT NULL,
    environment    text        NOT NULL,
    -- NULL: the secret key of the environment.
    key_id         uuid,
    key_name       text        NOT NULL,
    act            text        NOT NULL,
    subject        text        NOT NULL,
    request_id     text        NOT NULL,
    -- HTTP status of the answer; NULL while it is not known, and for good where the process died.
    status         integer,
    error          text
);
CREATE INDEX audit_events_of_environment ON audit_events (environment_id, id DESC);
