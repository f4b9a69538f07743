-- Which writes a run has counted lately: one that is done again is not counted again.
ALTER TABLE runs ADD COLUMN counted text[] NOT NULL DEFAULT '{}';
