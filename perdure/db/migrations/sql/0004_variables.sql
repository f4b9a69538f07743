-- Settings and secrets of an environment's scripts; values are encrypted.
CREATE TABLE environment_variables (
    environment_id bigint      NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    name           text        NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    value          bytea       NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (environment_id, name)
);
