-- The stores of package durable.
CREATE TABLE whisperpush.stores (
	id     int    PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	name   text   NOT NULL UNIQUE,
	term   bigint NOT NULL, -- drawn by the owner when it opened the store: whoever has another writes nothing
	writes bigint NOT NULL  -- how many there were
) WITH (fillfactor = 50);   -- a row is updated by each write, within its page

CREATE TABLE whisperpush.entries (
	store int   NOT NULL REFERENCES whisperpush.stores,
	key   bytea NOT NULL,
	value bytea NOT NULL,
	PRIMARY KEY (store, key)
);
-- Values are sealed, so they do not compress.
ALTER TABLE whisperpush.entries ALTER COLUMN value SET STORAGE EXTERNAL;

-- store_write is one write, with the number that follows the last one's. It answers
-- 'written', 'before' if the very same write was committed before, 'fenced' if the store
-- has another owner, and 'skipped' if a write is missing.
CREATE FUNCTION whisperpush.store_write(the_store int, the_term bigint, number bigint, deleted bytea[], put bytea[], contents bytea[])
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	s whisperpush.stores;
BEGIN
	IF current_setting('synchronous_commit') IN ('off', 'local') THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
	SELECT * INTO s FROM whisperpush.stores WHERE id = the_store FOR UPDATE;
	IF NOT FOUND OR s.term <> the_term THEN
		RETURN 'fenced';
	ELSIF s.writes = number THEN
		RETURN 'before';
	ELSIF s.writes <> number - 1 THEN
		RETURN 'skipped';
	END IF;
	DELETE FROM whisperpush.entries WHERE store = the_store AND key = ANY (deleted);
	INSERT INTO whisperpush.entries (store, key, value)
		SELECT the_store, k, v FROM unnest(put, contents) AS new (k, v)
		ON CONFLICT (store, key) DO UPDATE SET value = excluded.value;
	UPDATE whisperpush.stores SET writes = number WHERE id = the_store;
	RETURN 'written';
END $$;
