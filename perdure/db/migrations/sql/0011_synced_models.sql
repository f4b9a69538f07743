-- The models that the last successful run saved; what is new to it has no past to go on from.
ALTER TABLE syncs ADD COLUMN synced_models text[];
