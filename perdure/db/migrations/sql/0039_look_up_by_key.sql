-- A plan that was made while the table was empty reads all of it, and is kept until statistics are
-- next gathered: by then a first sync may have saved hundreds of thousands of records, each batch by
-- reading those before it, once for each of its records.
ALTER FUNCTION standing_records(bigint, text, text, text[]) SET enable_seqscan TO off;
