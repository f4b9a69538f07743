-- Where the reads that save past the script are, and what they did. A row moves in the transaction
-- that writes the records of the page.
CREATE TABLE run_cursors (
    run_id      text        NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- An item of a loop has a workflow of its own, and shares the run.
    workflow_id text        NOT NULL,
    -- Which read of the workflow, counted from 1.
    number      integer     NOT NULL CHECK (number > 0),
    -- Fingerprint of what is read and where it goes: a row is of no use to another read.
    asked       text        NOT NULL,
    -- Where the next page begins, encrypted: links and cursors may be secrets. NULL at both ends.
    state       bytea,
    done        boolean     NOT NULL DEFAULT false,
    pages       bigint      NOT NULL DEFAULT 0,
    added       bigint      NOT NULL DEFAULT 0,
    updated     bigint      NOT NULL DEFAULT 0,
    deleted     bigint      NOT NULL DEFAULT 0,
    unchanged   bigint      NOT NULL DEFAULT 0,
    -- The newest attempt that took the row over; no other one moves it.
    claimed_at  timestamptz NOT NULL,
    attempt     integer     NOT NULL,
    PRIMARY KEY (run_id, workflow_id, number)
);
