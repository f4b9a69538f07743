-- Where scripts go on from.
CREATE TABLE checkpoints (
    connection_key bigint      NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    -- <kind>:<script>[:<variant>]
    key            text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- json, not jsonb: numbers and strings come back as they were saved. NULL once it is cleared:
    -- the row stays, so that its version only ever grows.
    value          json,
    version        bigint      NOT NULL DEFAULT 1,
    -- The run and the step that wrote last: a step that is repeated finds its own trace.
    run_id         text,
    step_id        text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_key, key)
);

-- {"from": ..., "to": ...}: the checkpoint a run found and the one it left; NULL where it used none.
ALTER TABLE runs ADD COLUMN checkpoints json;
