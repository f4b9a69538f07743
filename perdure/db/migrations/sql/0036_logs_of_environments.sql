-- Whose line it is: who looks for lines of one environment does not look at all the others.
-- Processes of an earlier release do not say so; the trigger does it for them.
ALTER TABLE run_logs ADD COLUMN IF NOT EXISTS environment_id bigint;

CREATE OR REPLACE FUNCTION set_environment_of_line()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.environment_id := (SELECT environment_id FROM runs WHERE id = NEW.run_id);
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER run_logs_set_environment BEFORE INSERT ON run_logs
    FOR EACH ROW WHEN (NEW.environment_id IS NULL) EXECUTE FUNCTION set_environment_of_line();
