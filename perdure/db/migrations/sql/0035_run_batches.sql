-- Batches that a run's workflow has written lately, and the attempt that wrote the last one. An
-- older attempt writes no more. An item of a loop has a workflow of its own, and shares the run.
-- runs.counted is what earlier releases wrote in its place.
CREATE TABLE run_batches (
    run_id      text        NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    workflow_id text        NOT NULL,
    claimed_at  timestamptz NOT NULL,
    attempt     integer     NOT NULL,
    -- The last names of batches: one that is written again is not counted again.
    names       text[]      NOT NULL,
    PRIMARY KEY (run_id, workflow_id)
);
