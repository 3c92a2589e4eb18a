-- What nodes that share the registrations have in common since they exchanged their push
-- key. These tables are made by the first such exchange, and not before: a program that
-- does not know them would go on with the key of before.
CREATE TABLE whisperpush.push_keys (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	version bigint NOT NULL, -- one more with each change
	mark    bytea  NOT NULL, -- what a node beats with that has taken this version
	sealed  bytea  NOT NULL  -- the push keys, under the disk key
);

-- shards_beat is as before, but that a node is answered nothing unless it beats with the
-- mark of the version that there is; and that a node's row says which it has taken.
CREATE OR REPLACE FUNCTION whisperpush.shards_beat(me bigint, the_address text, the_keys bytea, life bigint)
RETURNS TABLE (a_shard int, a_node bigint, an_address text, part int) LANGUAGE plpgsql AS $$
DECLARE
	grace  bigint := life / 2;
	now_ms bigint;
	last   bigint;
	many   int;
	before int;
	all_shards int;
	mine   int;
	known  bytea;
BEGIN
	SELECT at INTO STRICT last FROM whisperpush.heard FOR UPDATE;
	now_ms := extract(epoch FROM clock_timestamp()) * 1000;
	IF now_ms < last OR now_ms > last + grace THEN
		UPDATE whisperpush.nodes SET until = until + now_ms - last;
	END IF;
	DELETE FROM whisperpush.nodes WHERE until < now_ms AND node <> me;
	SELECT mark INTO known FROM whisperpush.push_keys;
	IF FOUND AND known <> the_keys OR NOT FOUND AND EXISTS (SELECT FROM whisperpush.nodes WHERE node <> me AND keys <> the_keys) THEN
		RETURN;
	END IF;
	UPDATE whisperpush.heard SET at = now_ms;
	INSERT INTO whisperpush.nodes VALUES (me, the_address, the_keys, now_ms + life)
		ON CONFLICT (node) DO UPDATE SET until = excluded.until, address = excluded.address, keys = excluded.keys;
	SELECT count(*), count(*) FILTER (WHERE node < me) INTO many, before FROM whisperpush.nodes;
	SELECT count(*), count(*) FILTER (WHERE node = me) INTO all_shards, mine FROM whisperpush.shards;
	part := all_shards / many + CASE WHEN before < all_shards % many THEN 1 ELSE 0 END;
	UPDATE whisperpush.shards SET node = me WHERE shard IN (
		SELECT shard FROM whisperpush.shards WHERE node IS NULL ORDER BY shard LIMIT greatest(part - mine, 0));
	RETURN QUERY SELECT s.shard, coalesce(s.node, 0), coalesce(n.address, ''), part
		FROM whisperpush.shards s LEFT JOIN whisperpush.nodes n ON n.node = s.node ORDER BY s.shard;
END $$;
