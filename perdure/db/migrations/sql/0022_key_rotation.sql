-- Id of the key that a ciphertext of the key ring names, '' where it is no such ciphertext.
CREATE FUNCTION encryption_key_id(sealed bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(sealed) > 2 AND get_byte(sealed, 0) = 1
    THEN encode(substring(sealed FROM 3 FOR get_byte(sealed, 1)), 'escape')
    ELSE ''
END;

-- The same of a serialized Temporal payload, NULL where it is not encrypted: its metadata say that
-- it is, and are followed by a tag, the length of the ciphertext, and the ciphertext.
CREATE FUNCTION payload_encryption_key_id(payload bytea) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    head bytea := substring(payload FROM 1 FOR 256);
    place integer := position('binary/perdure-encrypted'::bytea IN substring(head FROM 1 FOR 64));
BEGIN
    IF place = 0 THEN
        RETURN NULL;
    END IF;
    -- Counted from 0: behind the mark and the tag.
    place := place + 24;
    WHILE place < octet_length(head) - 1 AND get_byte(head, place) >= 128 LOOP
        place := place + 1;
    END LOOP;
    RETURN encryption_key_id(substring(head FROM place + 2));
END;
$$;

-- Each time that everything was encrypted anew with the first key of the ring.
CREATE TABLE key_rotations (
    id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- Temporal's: repeating the step that begins it makes no second one.
    run_id       text        NOT NULL UNIQUE,
    key_id       text        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    -- What it is at.
    doing        text        NOT NULL DEFAULT '',
    rewritten    bigint      NOT NULL DEFAULT 0
);
