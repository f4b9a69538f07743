-- A run that only shows what it would do. Such a row has no connection_key: it counts for no sync.
ALTER TABLE runs ADD COLUMN dry_run boolean NOT NULL DEFAULT false;

-- What a dry run came to: the report that people read, and a fixture for tests where one was asked for.
CREATE TABLE dry_runs (
    run_id     text        PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    report     json,
    fixture    json,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Records as a dry run would leave them; gone when it has ended.
CREATE TABLE dry_run_records (
    run_id       text    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    model        text    NOT NULL,
    external_id  text    NOT NULL,
    -- NULL where it was pruned.
    payload      json,
    payload_hash bytea   NOT NULL,
    deleted      boolean NOT NULL,
    -- Whether fields were merged into what was there.
    merged       boolean NOT NULL DEFAULT false,
    place        bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (run_id, model, external_id)
);

-- Requests that a dry run made, and their answers, without secrets; gone when it has ended.
CREATE TABLE dry_run_exchanges (
    run_id   text    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- The same for every attempt: the last one is kept.
    step     text    NOT NULL,
    place    bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
    exchange json    NOT NULL,
    PRIMARY KEY (run_id, step)
);
