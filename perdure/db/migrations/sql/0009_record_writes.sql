-- Nobody writes between the count and the commit.
LOCK TABLE records IN SHARE MODE;

-- How many records of a set are there, deleted ones left out. Every statement that adds, deletes,
-- restores or erases records keeps it, so that a count costs one row.
CREATE TABLE record_counts (
    connection_key bigint NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    model          text   NOT NULL,
    variant        text   NOT NULL,
    live           bigint NOT NULL,
    PRIMARY KEY (connection_key, model, variant)
);
INSERT INTO record_counts (connection_key, model, variant, live)
SELECT connection_key, model, variant, count(*)
  FROM records
 WHERE deleted_at IS NULL
 GROUP BY connection_key, model, variant;

-- From when on, and for whom, notes are taken of which records of a set were seen. What is still
-- there, did not change since and was not seen either is absent, and is deleted at the end.
CREATE TABLE delete_tracks (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    connection_key bigint      NOT NULL,
    sync           text        NOT NULL,
    model          text        NOT NULL,
    variant        text        NOT NULL,
    -- The run whose sight counts; NULL where a script tracks over as many runs as it takes.
    run_id         text,
    -- The set's last place in the stream when the track began.
    after_seq      bigint      NOT NULL,
    started_at     timestamptz NOT NULL DEFAULT now(),
    -- Whether the sync has saved anything of the model meanwhile.
    saw_any        boolean     NOT NULL DEFAULT false,
    -- Since when the deletion waits for somebody's word, which run left it so, and what it found.
    held_at        timestamptz,
    held_by        text,
    live           bigint,
    absent         bigint,
    FOREIGN KEY (connection_key, sync, variant)
        REFERENCES syncs (connection_key, name, variant) ON DELETE CASCADE
);
CREATE INDEX delete_tracks_of_set ON delete_tracks (connection_key, model, variant);
CREATE UNIQUE INDEX delete_tracks_of_run ON delete_tracks (run_id, model)
 WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX delete_tracks_of_script ON delete_tracks (connection_key, sync, model, variant)
 WHERE run_id IS NULL AND held_at IS NULL;
CREATE INDEX delete_tracks_held ON delete_tracks (held_by) WHERE held_by IS NOT NULL;

-- No foreign key: it would be checked for every note. What a track leaves behind is swept.
CREATE TABLE seen_records (
    track_id    bigint NOT NULL,
    external_id text   NOT NULL,
    PRIMARY KEY (track_id, external_id)
);
