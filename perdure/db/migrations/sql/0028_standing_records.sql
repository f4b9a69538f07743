-- What stands there of some records, in the order of their ids: a row of NULLs for one that is not
-- there. A statement sees the snapshot it began with, even where it has waited for a lock since; this
-- function looks anew, because it is VOLATILE. In plpgsql its plan is kept, too.
CREATE FUNCTION standing_records(of_connection bigint, of_model text, of_variant text, ids text[])
RETURNS TABLE (standing_hash bytea, is_deleted boolean, is_pruned boolean)
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    -- OFFSET 0 has each record looked up by its key, whatever statistics say.
    RETURN QUERY
    SELECT found.payload_hash, found.deleted_at IS NOT NULL, found.pruned_at IS NOT NULL
      FROM unnest(ids) WITH ORDINALITY AS wanted (id, place)
      LEFT JOIN LATERAL (
          SELECT r.payload_hash, r.deleted_at, r.pruned_at
            FROM records r
           WHERE r.connection_key = of_connection AND r.model = of_model
             AND r.variant = of_variant AND r.external_id = wanted.id
          OFFSET 0) AS found ON true
     ORDER BY wanted.place;
END;
$$;

-- Gives back the key of a connection that cannot be deleted before the transaction has ended.
CREATE FUNCTION hold_connection(key bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM FROM connections WHERE id = key FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the connection % does not exist', key
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN key;
END;
$$;
