-- Nodes that share the registrations. Each shard of them is a store, and has one owner
-- at a time: who has the lease of it.
CREATE TABLE whisperpush.nodes (
	node    bigint PRIMARY KEY, -- drawn at its start
	address text   NOT NULL,    -- where other nodes reach it
	keys    bytea  NOT NULL,    -- the same at nodes with the same keys, and tells nothing of them
	until   bigint NOT NULL     -- milliseconds, Unix time, by the clock of this server: its leases end then
) WITH (fillfactor = 50);

CREATE TABLE whisperpush.shards (
	shard int    PRIMARY KEY,
	store int    NOT NULL UNIQUE REFERENCES whisperpush.stores,
	node  bigint REFERENCES whisperpush.nodes ON DELETE SET NULL -- the owner, if there is one
);

-- When any node was heard of last. Whoever changes leases locks this row.
CREATE TABLE whisperpush.heard (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	at  bigint  NOT NULL
) WITH (fillfactor = 50);
INSERT INTO whisperpush.heard (at) VALUES (0);

INSERT INTO whisperpush.stores (name, term, writes)
	SELECT 'push_' || to_char(n, 'FM00'), 0, 0 FROM generate_series(0, 15) AS n;
INSERT INTO whisperpush.shards (shard, store)
	SELECT substr(name, 6)::int, id FROM whisperpush.stores WHERE name LIKE 'push\___';

-- shards_beat renews the leases of a node, which joins if it is new, ends those of nodes
-- that were not heard of, and gives the node free shards up to its part. It answers who
-- has which shard, and how many the node is to have. A node with other keys than the
-- others have is answered nothing.
--
-- If no node was heard of for longer than grace it was this server that was away, or its
-- clock that was set: then that time counts for no lease.
CREATE FUNCTION whisperpush.shards_beat(me bigint, the_address text, the_keys bytea, life bigint)
RETURNS TABLE (a_shard int, a_node bigint, an_address text, part int) LANGUAGE plpgsql AS $$
DECLARE
	grace  bigint := life / 2;
	now_ms bigint;
	last   bigint;
	many   int;
	before int;
	all_shards int;
	mine   int;
BEGIN
	SELECT at INTO STRICT last FROM whisperpush.heard FOR UPDATE;
	now_ms := extract(epoch FROM clock_timestamp()) * 1000;
	IF now_ms < last OR now_ms > last + grace THEN
		UPDATE whisperpush.nodes SET until = until + now_ms - last;
	END IF;
	DELETE FROM whisperpush.nodes WHERE until < now_ms AND node <> me;
	IF EXISTS (SELECT FROM whisperpush.nodes WHERE node <> me AND keys <> the_keys) THEN
		RETURN;
	END IF;
	UPDATE whisperpush.heard SET at = now_ms;
	INSERT INTO whisperpush.nodes VALUES (me, the_address, the_keys, now_ms + life)
		ON CONFLICT (node) DO UPDATE SET until = excluded.until, address = excluded.address;
	SELECT count(*), count(*) FILTER (WHERE node < me) INTO many, before FROM whisperpush.nodes;
	SELECT count(*), count(*) FILTER (WHERE node = me) INTO all_shards, mine FROM whisperpush.shards;
	part := all_shards / many + CASE WHEN before < all_shards % many THEN 1 ELSE 0 END;
	UPDATE whisperpush.shards SET node = me WHERE shard IN (
		SELECT shard FROM whisperpush.shards WHERE node IS NULL ORDER BY shard LIMIT greatest(part - mine, 0));
	RETURN QUERY SELECT s.shard, coalesce(s.node, 0), coalesce(n.address, ''), part
		FROM whisperpush.shards s LEFT JOIN whisperpush.nodes n ON n.node = s.node ORDER BY s.shard;
END $$;

-- shards_take makes the term of a shard's store the node's, if the node has the lease of
-- it, and answers how many writes there were; NULL if it has not.
CREATE FUNCTION whisperpush.shards_take(the_shard int, me bigint, the_term bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	of_shard int;
	done     bigint;
BEGIN
	SELECT store INTO of_shard FROM whisperpush.shards WHERE shard = the_shard AND node = me FOR SHARE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	UPDATE whisperpush.stores SET term = the_term WHERE id = of_shard RETURNING writes INTO done;
	RETURN done;
END $$;
