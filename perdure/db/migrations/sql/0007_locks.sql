-- Locks that scripts take by name.
CREATE TABLE script_locks (
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    key            text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- Id of the run; no foreign key, since the row of an action's run is written beside it.
    owner          text        NOT NULL CHECK (owner <> ''),
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (environment_id, key)
);
CREATE INDEX script_locks_by_owner ON script_locks (owner);
