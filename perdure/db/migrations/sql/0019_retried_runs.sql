-- A run that is retried has its time limit anew.
ALTER TABLE runs ADD COLUMN retried_at timestamptz;

CREATE INDEX action_keys_oldest ON action_keys (created_at);
