-- Whoever looks a record up by its id must get to it by the primary key. Of connections that are
-- new Postgres knows no statistics; it then takes a whole set for one row, and either index for as
-- good as the other. With its condition this one serves only who reads the stream and says
-- `change_seq > 0`, which holds for every place.
DROP INDEX records_stream;
CREATE UNIQUE INDEX records_stream ON records (connection_key, model, variant, change_seq)
 WHERE change_seq > 0;
