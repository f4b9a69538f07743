-- Undoes a statement that finds, after its work, that it must not have written: see
-- perdure.db.record_writes. Whoever called it knows the reason by the SQLSTATE.
CREATE FUNCTION refuse_write(reason text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = reason, MESSAGE = 'the write is refused';
END
$$;
