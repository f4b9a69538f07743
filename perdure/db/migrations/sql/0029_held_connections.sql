-- A foreign key is checked for every row. Writers of records hold their connection once a statement
-- instead (hold_connection): while they do nobody deletes it, and once it is deleted they are
-- refused. What a deletion takes along is what the foreign key took.
--
-- Both tables are needed for themselves. Whoever writes to one may need the other next, so nobody
-- is waited for while one is held.
LOCK TABLE records IN ACCESS EXCLUSIVE MODE;
LOCK TABLE connections IN ACCESS EXCLUSIVE MODE NOWAIT;

CREATE FUNCTION delete_records_of_connection()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM records WHERE connection_key = OLD.id;
    RETURN NULL;
END;
$$;

CREATE TRIGGER connections_delete_records AFTER DELETE ON connections
    FOR EACH ROW EXECUTE FUNCTION delete_records_of_connection();

ALTER TABLE records DROP CONSTRAINT records_connection_key_fkey;
