-- How many attempts have begun since the last page was saved: waits grow with them.
ALTER TABLE run_cursors ADD COLUMN tries integer NOT NULL DEFAULT 1;
