-- What happens to values that do not fit their model.
ALTER TABLE environments
    ADD COLUMN validation text NOT NULL DEFAULT 'enforce'
        CHECK (validation IN ('enforce', 'warn', 'off'));
