import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, hex0x } from '../src/bytes.js';
import { Envelope, formatTopic, mine, openAsymmetric, openSymmetric, workOf } from '../src/whisper/index.js';
import { readJson, writers } from './support.js';
import { type WhisperVectors } from './vectors-whisper.js';

for (const writer of writers) {
	test(`the messages that ${writer} sealed are opened, and their proof of work is the first that will do`, async () => {
		const { messages } = readJson<WhisperVectors>(`web/vectors/testdata/${writer}/whisper.json`);
		assert.ok(messages.length > 10);
		for (const v of messages) {
			const envelope = Envelope.decode(fromHex(v.raw));
			assert.equal(formatTopic(envelope.topic), v.topic, v.name);
			assert.deepEqual([envelope.ttl, envelope.sent, envelope.nonce], [v.ttl, v.sent, BigInt(v.nonce)], v.name);
			assert.equal(hex0x(envelope.hash), v.hash);
			assert.equal(hex0x(envelope.message()), v.message);
			assert.equal(envelope.pow(new Date(v.sent * 1000)), v.pow);
			assert.equal(await mine(workOf(envelope), v.target), envelope.nonce, v.name);

			const m = v.key ? await openSymmetric(envelope, fromHex(v.key)) : await openAsymmetric(envelope, fromHex(v.private!));
			assert.equal(hex0x(m.payload), v.payload, v.name);
			assert.equal(hex0x(m.padding), v.padding, v.name);
			assert.equal(m.signer && hex0x(m.signer), v.signer, v.name);
			assert.equal(m.to === undefined, v.key !== undefined);
			// The same fields make the same bytes.
			assert.equal(hex0x(Envelope.encode(envelope).raw), v.raw);
		}
	});
}
