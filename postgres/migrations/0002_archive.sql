-- The archive: one log, in parts by the time of receipt. A part is a table of its own,
-- log_N for the one that begins with sequence N, so that retention drops whole tables.
CREATE TABLE whisperpush.head (
	one  boolean PRIMARY KEY DEFAULT true CHECK (one),
	log  bytea   NOT NULL, -- its identity
	seq  bigint  NOT NULL, -- the newest sequence
	part bigint  NOT NULL  -- the part that is written to
) WITH (fillfactor = 50);

CREATE TABLE whisperpush.parts (
	first     bigint PRIMARY KEY,
	last      bigint NOT NULL, -- first - 1 while it is empty
	begun     bigint NOT NULL, -- milliseconds, Unix time
	received  bigint NOT NULL, -- the same of its newest envelope
	expiry    bigint NOT NULL, -- seconds: nothing in it expires later
	sent_from bigint NOT NULL, -- seconds: nothing in it was sent before
	sent_to   bigint NOT NULL, -- nor later
	bytes     bigint NOT NULL  -- about what it takes
) WITH (fillfactor = 50);

-- archive_begin makes the part that begins with a sequence.
CREATE FUNCTION whisperpush.archive_begin(the_first bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	now_ms bigint := extract(epoch FROM clock_timestamp()) * 1000;
BEGIN
	EXECUTE format('CREATE TABLE whisperpush.log_%s (
		seq      bigint NOT NULL PRIMARY KEY,
		received bigint NOT NULL,
		sent     bigint NOT NULL,
		topic    bytea  NOT NULL,
		hash     bytea  NOT NULL UNIQUE,
		raw      bytea  NOT NULL)', the_first);
	-- Envelopes are encrypted, so they do not compress.
	EXECUTE format('ALTER TABLE whisperpush.log_%s ALTER COLUMN raw SET STORAGE EXTERNAL', the_first);
	EXECUTE format('CREATE INDEX ON whisperpush.log_%s (topic, seq) INCLUDE (sent)', the_first);
	INSERT INTO whisperpush.parts VALUES (the_first, the_first - 1, now_ms, now_ms, 0, 1::bigint << 32, 0, 0);
END $$;

-- archive_append archives those of the envelopes that are not archived yet, under the
-- sequences that follow the newest. The hashes must differ. The head is locked first,
-- and what is there already is looked for by a statement of its own after that, which
-- sees what others have committed meanwhile: so sequences have no gaps, are visible in
-- their order, and an envelope that several nodes offer is archived once. It is looked
-- for where something may be alive yet: nobody takes an envelope that has expired.
--
-- A part that is width milliseconds old, or of as many bytes as most, is followed by
-- another one.
CREATE FUNCTION whisperpush.archive_append(width bigint, most bigint,
	hashes bytea[], topics bytea[], sents bigint[], expiries bigint[], raws bytea[],
	OUT newest bigint, OUT added bigint, OUT part bigint, OUT total bigint) LANGUAGE plpgsql AS $$
DECLARE
	clock_skew CONSTANT bigint := 600; -- seconds by which a node's clock may be behind
	row_bytes  CONSTANT bigint := 250; -- what an envelope takes beside itself
	h      whisperpush.head;
	p      whisperpush.parts;
	old    bigint;
	there  bytea[];
	known  bytea[] := '{}';
	now_ms bigint;
	lowest bigint; highest bigint; size bigint;
BEGIN
	IF current_setting('synchronous_commit') IN ('off', 'local') THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
	SELECT * INTO STRICT h FROM whisperpush.head FOR UPDATE;
	now_ms := extract(epoch FROM clock_timestamp()) * 1000;
	SELECT * INTO STRICT p FROM whisperpush.parts WHERE first = h.part;
	IF p.last >= p.first AND (now_ms >= p.begun + width OR most > 0 AND p.bytes >= most) THEN
		h.part := h.seq + 1;
		PERFORM whisperpush.archive_begin(h.part);
		SELECT * INTO STRICT p FROM whisperpush.parts WHERE first = h.part;
	END IF;
	added := 0;
	IF cardinality(hashes) > 0 THEN
		FOR old IN SELECT first FROM whisperpush.parts WHERE first = h.part OR expiry >= now_ms / 1000 - clock_skew LOOP
			EXECUTE format('SELECT array_agg(hash) FROM whisperpush.log_%s WHERE hash = ANY ($1)', old) INTO there USING hashes;
			known := known || coalesce(there, '{}');
		END LOOP;
		EXECUTE format('WITH new AS (
			INSERT INTO whisperpush.log_%s (seq, received, sent, topic, hash, raw)
			SELECT $1 + row_number() OVER (ORDER BY at), $2, sent, topic, hash, raw
			FROM unnest($3, $4, $5, $6) WITH ORDINALITY AS offered (hash, topic, sent, raw, at)
			WHERE NOT EXISTS (SELECT FROM unnest($7) AS k (hash) WHERE k.hash = offered.hash)
			RETURNING sent, octet_length(raw) AS size)
			SELECT count(*), min(sent), max(sent), sum(size) FROM new', h.part)
			INTO added, lowest, highest, size USING h.seq, now_ms, hashes, topics, sents, raws, known;
	END IF;
	IF added > 0 THEN
		h.seq := h.seq + added;
		UPDATE whisperpush.parts SET
			last = h.seq, received = now_ms,
			begun = CASE WHEN last < first THEN now_ms ELSE begun END,
			expiry = greatest(expiry, (SELECT max(e) FROM unnest(expiries) AS e)),
			sent_from = least(sent_from, lowest), sent_to = greatest(sent_to, highest),
			bytes = bytes + size + added * row_bytes
			WHERE first = h.part;
	END IF;
	UPDATE whisperpush.head SET seq = h.seq, part = h.part;
	newest := h.seq;
	part := h.part;
	total := (SELECT sum(bytes) FROM whisperpush.parts);
END $$;

-- A log's identity is drawn when it is begun.
INSERT INTO whisperpush.head VALUES (true, decode(replace(gen_random_uuid()::text, '-', ''), 'hex'), 0, 1);
SELECT whisperpush.archive_begin(1);
