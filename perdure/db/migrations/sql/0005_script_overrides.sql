-- Scripts that runs which were retried with another bundle execute instead of their own.
CREATE TABLE script_overrides (
    workflow_id    text   PRIMARY KEY CHECK (workflow_id <> ''),
    environment_id bigint NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    payload        bytea  NOT NULL
);
CREATE INDEX script_overrides_by_environment ON script_overrides (environment_id);

-- The run that is under way for a sync, found without reading through its past ones.
CREATE INDEX runs_under_way ON runs (connection_key, script, variant) WHERE status = 'running';
