-- What end users may do for half an hour: connect accounts, each for whom the session is made.
CREATE TABLE connect_sessions (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- SHA-256: the token is random, so there is nothing for a slow hash to protect.
    token_hash     bytea       NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    -- The connection that is to be given new credentials; NULL where new ones are made.
    connection_key bigint      REFERENCES connections (id) ON DELETE CASCADE,
    details        jsonb       NOT NULL CHECK (jsonb_typeof(details) = 'object'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL
);
CREATE INDEX connect_sessions_by_end ON connect_sessions (expires_at);

-- People who are at a provider's consent page just now. A row is taken away by whoever uses it.
CREATE TABLE oauth_states (
    state_hash     bytea       PRIMARY KEY CHECK (octet_length(state_hash) = 32),
    session_id     bigint      NOT NULL REFERENCES connect_sessions (id) ON DELETE CASCADE,
    integration_id bigint      NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    -- What is needed when they come back, encrypted: verifiers and temporary tokens are secrets.
    flow           bytea       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL
);
CREATE INDEX oauth_states_by_end ON oauth_states (expires_at);

-- How attempts ended, for the windows that wait for that.
CREATE TABLE connect_results (
    client_id  uuid        PRIMARY KEY,
    result     jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
