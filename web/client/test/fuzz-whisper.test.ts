// Every byte is hostile: a decoder takes it or throws a ProtocolError, and what it took
// it writes again as it was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, fromHex, hex } from '../src/bytes.js';
import { eciesDecrypt, eciesEncrypt } from '../src/whisper/ecies.js';
import { layOut, parseMessage } from '../src/whisper/message.js';
import {
	decodeEnvelopes,
	encodeEnvelopes,
	Envelope,
	openSymmetric,
	parsePublicKey,
	parseTopic,
	publicKeyOf,
	seal,
} from '../src/whisper/index.js';
import { runs, spoiled } from './fuzz-support.js';
import { failure, failureOf, filled, readJson } from './support.js';
import { type WhisperVectors } from './vectors-whisper.js';

const good = readJson<WhisperVectors>('web/vectors/testdata/go/whisper.json')
	.messages.map((m) => fromHex(m.raw))
	.filter((raw) => raw.length < 1000);

test('fuzz: envelopes', () => {
	let taken = 0;
	fc.assert(
		fc.property(spoiled(...good), (bytes) => {
			if (failure(() => Envelope.decode(bytes)) === undefined) {
				taken++;
				const envelope = Envelope.decode(bytes);
				assert.equal(hex(Envelope.encode(envelope).raw), hex(bytes));
				assert.equal(envelope.data.buffer, bytes.buffer, 'nothing is copied');
			}
		}),
		runs,
	);
	assert.ok(taken > 0);
});

test('fuzz: lists of envelopes', () => {
	const list = encodeEnvelopes(good.slice(0, 3).map((raw) => Envelope.decode(raw)));
	fc.assert(
		fc.property(spoiled(list), (bytes) => {
			const code = failure(() => decodeEnvelopes(bytes, 10));
			assert.ok(code === undefined || code === 'malformed' || code === 'too-large');
			if (code === undefined) {
				const { envelopes, bad } = decodeEnvelopes(bytes, 10);
				assert.ok(envelopes.length + bad <= 10);
			}
		}),
		runs,
	);
	assert.equal(decodeEnvelopes(list).envelopes.length, 3);
	assert.equal(failure(() => decodeEnvelopes(list, 2)), 'too-large');
});

test('fuzz: messages of those who know the key', () => {
	const plain = [
		layOut({ payload: filled(40, 1) }),
		layOut({ payload: filled(40, 1), sign: filled(32, 5) }),
		layOut({ payload: filled(300, 1), sign: filled(32, 5), padding: filled(0, 0) }),
	];
	fc.assert(
		fc.property(spoiled(...plain), (bytes) => {
			const code = failure(() => parseMessage(bytes));
			assert.ok(code === undefined || code === 'cannot-open');
		}),
		runs,
	);
});

test('fuzz: encrypted messages', async () => {
	const key = filled(32, 1);
	const sealed = await seal({ payload: filled(10, 1), key, topic: filled(4, 0) });
	await fc.assert(
		fc.asyncProperty(spoiled(sealed.data), async (data) => {
			const code = await failureOf(() => openSymmetric({ data }, key));
			assert.ok(code === 'cannot-open' || hex(data) === hex(sealed.data));
		}),
		{ numRuns: Math.ceil(runs.numRuns / 4) },
	);
	const encrypted = eciesEncrypt(publicKeyOf(key), filled(10, 1));
	fc.assert(
		fc.property(spoiled(encrypted), (data) => {
			const code = failure(() => eciesDecrypt(key, data));
			assert.ok(code === 'cannot-open' || hex(data) === hex(encrypted));
		}),
		{ numRuns: Math.ceil(runs.numRuns / 4) },
	);
});

test('fuzz: keys and topics that people type', () => {
	const typed = fc.oneof(fc.string(), fc.string().map((s) => '0x' + s), fc.uint8Array({ maxLength: 66 }).map(hex));
	fc.assert(
		fc.property(typed, (text) => {
			failure(() => parsePublicKey(text));
			failure(() => parseTopic(text));
		}),
		runs,
	);
	fc.assert(fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => void failure(() => parsePublicKey(bytes))), runs);
	assert.equal(failure(() => parsePublicKey(concat(Uint8Array.of(4), filled(64, 1)))), 'malformed');
});

test('what is claimed costs nothing before it is there', () => {
	// Lists and strings that claim up to 2^64 bytes.
	for (const head of ['bb7fffffff', 'bfffffffffffffffff', 'ff0100000000000000', 'ffffffffffffffffff', 'f9ffff']) {
		assert.equal(failure(() => Envelope.decode(fromHex(head))), 'malformed');
		assert.equal(failure(() => decodeEnvelopes(fromHex(head))), 'malformed');
	}
});
