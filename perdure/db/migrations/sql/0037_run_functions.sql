-- Adds what became of some records of a model to what a run did to records. A statement has it in
-- its own plan: it is no stricter than what it calls.
CREATE FUNCTION counts_with(counts jsonb, model text,
                            added bigint, updated bigint, deleted bigint, unchanged bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT counts || jsonb_build_object(model, jsonb_build_object(
        'added',     coalesce((counts #>> ARRAY[model, 'added'])::bigint, 0) + added,
        'updated',   coalesce((counts #>> ARRAY[model, 'updated'])::bigint, 0) + updated,
        'deleted',   coalesce((counts #>> ARRAY[model, 'deleted'])::bigint, 0) + deleted,
        'unchanged', coalesce((counts #>> ARRAY[model, 'unchanged'])::bigint, 0) + unchanged))
$$;

-- Notes a batch of a run's workflow (perdure.db.run_batches) and says whether it was noted before;
-- NULL where a newer attempt has written, or there is no such run. 16 names are remembered. A
-- conflict sees them as they are, where the statement's snapshot may be older. In plpgsql its plan
-- is kept.
CREATE FUNCTION note_batch(of_run text, of_workflow text, given_out timestamptz,
                           of_attempt integer, batch text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    again boolean;
BEGIN
    INSERT INTO run_batches AS b (run_id, workflow_id, claimed_at, attempt, names)
    SELECT id, of_workflow, given_out, of_attempt, ARRAY[batch] FROM runs WHERE id = of_run
    ON CONFLICT (run_id, workflow_id) DO UPDATE
       SET claimed_at = excluded.claimed_at, attempt = excluded.attempt,
           names = (b.names || excluded.names)[greatest(cardinality(b.names) - 14, 1):]
     WHERE (b.claimed_at, b.attempt) <= (excluded.claimed_at, excluded.attempt)
    RETURNING batch = ANY (names[:cardinality(names) - 1]) INTO again;
    RETURN again;
END;
$$;

-- The last run of a sync, no row before the first. Runs have an index for it. A statement has it in
-- its own plan.
CREATE FUNCTION last_run_of_sync(of_connection bigint, sync text, of_variant text)
RETURNS SETOF runs
LANGUAGE sql STABLE
AS $$
    SELECT r.*
      FROM runs r
     WHERE r.connection_key = of_connection AND r.script = sync AND r.variant = of_variant
       AND r.kind = 'sync' AND NOT r.dry_run
     ORDER BY r.started_at DESC
     LIMIT 1
$$;
