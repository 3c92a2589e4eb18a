// The bytes and verdicts of the genuine node, go-ethereum v1.9.20: whisper/testdata/genuine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, hex0x } from '../src/bytes.js';
import { layOut } from '../src/whisper/message.js';
import {
	bloomCovers,
	Envelope,
	keyFromPassword,
	type Message,
	openAsymmetric,
	openSymmetric,
	parseTopic,
	passwordKey,
	topicBloom,
	uncompressed,
} from '../src/whisper/index.js';
import { failure, failureOf, float, readJson } from './support.js';

interface Pow {
	bits: string;
}

function cases<T>(file: string): T[] {
	const { cases } = readJson<{ cases: T[] }>(`whisper/testdata/genuine/${file}`);
	assert.ok(cases.length > 0);
	return cases;
}

// To a lifetime of 0 the genuine node gives infinite work; we give it that of a second.
function assertPow(want: Pow, got: number): void {
	const pow = float(want.bits);
	if (Number.isFinite(pow)) {
		assert.equal(got, pow);
	} else {
		assert.ok(Number.isFinite(got));
	}
}

test('genuine envelopes are read and written byte by byte', () => {
	interface Case {
		name: string;
		expiry: number;
		ttl: number;
		topic: string;
		data: string;
		nonce: string;
		rlp: string;
		hash: string;
		sent: number;
		size: number;
		pow: Pow;
		bloom?: string;
	}
	for (const c of cases<Case>('envelopes.json')) {
		const e = Envelope.decode(fromHex(c.rlp));
		assert.deepEqual([e.expiry, e.ttl, e.nonce, e.size], [c.expiry, c.ttl, BigInt(c.nonce), c.size], c.name);
		assert.equal(hex0x(e.topic), c.topic);
		assert.equal(hex0x(e.data), c.data);
		assert.equal(hex0x(e.hash), c.hash);
		if (c.ttl <= c.expiry) {
			assert.equal(e.sent, c.sent);
		}
		assertPow(c.pow, e.pow(new Date(e.sent * 1000)));
		if (c.bloom) {
			assert.equal(hex0x(topicBloom(e.topic)), c.bloom);
		}
		assert.equal(hex0x(Envelope.encode(e).raw), c.rlp);
	}
});

test('what the genuine node takes for an envelope is one, and nothing else', () => {
	for (const c of cases<{ name: string; rlp: string; taken: boolean; hash: string }>('envelope-rlp.json')) {
		if (c.taken) {
			assert.equal(hex0x(Envelope.decode(fromHex(c.rlp)).hash), c.hash, c.name);
		} else {
			assert.equal(failure(() => Envelope.decode(fromHex(c.rlp))), 'malformed', c.name);
		}
	}
});

test('proof of work is counted as the genuine node counts it', () => {
	for (const c of cases<{ name: string; rlp: string; now: number; pow: Pow }>('pow.json')) {
		assertPow(c.pow, Envelope.decode(fromHex(c.rlp)).pow(new Date(c.now * 1000)));
	}
});

test('bloom filters are those of the genuine node, lost bits included', () => {
	let lost = 0;
	for (const c of cases<{ name: string; topic: string; bloom: string; lost: number[] }>('blooms.json')) {
		assert.equal(hex0x(topicBloom(parseTopic(c.topic))), c.bloom, c.name);
		lost += c.lost.length;
	}
	assert.notEqual(lost, 0, 'the vectors cover lost bits');
	for (const c of cases<{ name: string; filter: string; sample: string; match: boolean }>('bloom-match.json')) {
		const [filter, sample] = [fromHex(c.filter), fromHex(c.sample)];
		if (filter.length === 64 && sample.length === 64) {
			assert.equal(bloomCovers(filter, sample), c.match, c.name);
		}
	}
});

test('passwords make the keys that they make in the genuine node', async () => {
	for (const c of cases<{ password: string; key: string }>('passwords.json')) {
		assert.equal(hex0x(await keyFromPassword(c.password)), c.key);
	}
});

interface MessageCase {
	name: string;
	kind?: string;
	verdict?: string;
	key: string;
	data: string;
	payload?: string;
	padding?: string;
	plaintext?: string;
	signer?: string;
	signKey?: string;
	paddingGiven?: boolean;
}

const open = (c: MessageCase, asymmetric: boolean): Promise<Message> =>
	(asymmetric ? openAsymmetric : openSymmetric)({ data: fromHex(c.data) }, fromHex(c.key));

function assertOpened(c: MessageCase, m: Message): void {
	assert.equal(hex0x(m.payload), c.payload ?? '0x', c.name);
	assert.equal(hex0x(m.padding), c.padding ?? '0x', c.name);
	assert.equal(m.signer && hex0x(uncompressed(m.signer)), c.signer, c.name);
}

for (const file of ['messages-symmetric.json', 'messages-symmetric-large.json', 'messages-asymmetric.json']) {
	test(`the genuine messages of ${file} are opened, and laid out alike`, async () => {
		for (const c of cases<MessageCase>(file)) {
			assertOpened(c, await open(c, file === 'messages-asymmetric.json'));
			if (c.plaintext === undefined) {
				continue;
			}
			const sign = c.signKey === undefined ? undefined : fromHex(c.signKey);
			const payload = fromHex(c.payload ?? '');
			assert.equal(hex0x(layOut({ payload, sign, padding: fromHex(c.padding ?? '') })), c.plaintext, c.name);
			if (!c.paddingGiven) {
				assert.equal(layOut({ payload, sign }).length, (c.plaintext.length - 2) / 2, c.name);
			}
		}
	});
}

test('what the genuine node refuses, and what makes it panic, is refused', async () => {
	let panics = 0;
	for (const c of cases<MessageCase>('messages-malformed.json')) {
		if (c.verdict === 'opened') {
			assertOpened(c, await open(c, c.kind === 'asymmetric'));
		} else {
			assert.equal(await failureOf(() => open(c, c.kind === 'asymmetric')), 'cannot-open', `${c.kind} ${c.name}`);
		}
		panics += c.verdict === 'panics' ? 1 : 0;
	}
	assert.notEqual(panics, 0);
});

test('a password key that no script can read opens what the bytes open', async () => {
	const c = cases<MessageCase>('messages-symmetric.json')[0]!;
	const key = await passwordKey('family');
	assert.equal(key.extractable, false);
	assert.equal(await failureOf(() => openSymmetric({ data: fromHex(c.data) }, key)), 'cannot-open');
});
