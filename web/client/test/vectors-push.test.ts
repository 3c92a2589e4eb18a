import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, hex, hex0x, utf8 } from '../src/bytes.js';
import * as push from '../src/push/index.js';
import { Envelope, publicKeyOf } from '../src/whisper/index.js';
import { failureOf, plain, readJson, writers } from './support.js';
import { type PushVectors } from './vectors-push.js';

for (const writer of writers) {
	const all = readJson<PushVectors>(`web/vectors/testdata/${writer}/push.json`);
	const [pushKey, registrationKey, sealKey] = [all.pushKey, all.registrationKey, all.sealKey].map((k) => fromHex(k)) as [
		Uint8Array, Uint8Array, Uint8Array,
	];
	const [server, account] = [publicKeyOf(pushKey), publicKeyOf(registrationKey)];

	test(`the requests that ${writer} sealed are opened, by the server that they are for`, async () => {
		assert.ok(all.requests.length >= 13);
		for (const v of all.requests) {
			const envelope = Envelope.decode(fromHex(v.envelope));
			assert.ok(envelope.pow(new Date(envelope.sent * 1000)) >= push.defaultPow);
			const { request, signer } = await push.openRequest(envelope, pushKey);
			assert.equal(hex(signer), hex(account));
			assert.deepEqual(plain(request), v.value, v.name);
			assert.equal(hex0x(push.encodeRequest(request)), v.payload, v.name);
			assert.equal(await failureOf(() => push.openRequest(envelope, registrationKey)), 'cannot-open');
			// No server can hand a request on to another.
			const handedOn = push.encodeRequest({ ...request, server: account });
			assert.equal(push.isFor(push.decodeRequest(handedOn), server), false);
		}
	});

	test(`the replies that ${writer} sealed are opened, if the server signed them, for this account`, async () => {
		assert.ok(all.replies.length >= 8);
		for (const v of all.replies) {
			const envelope = Envelope.decode(fromHex(v.envelope));
			const reply = await push.openReply(envelope, registrationKey, server);
			assert.deepEqual(plain(reply), v.value, v.name);
			assert.equal(hex0x(push.encodeReply(reply)), v.payload, v.name);
			assert.equal(await failureOf(() => push.openReply(envelope, registrationKey, account)), 'signer');
		}
	});

	test(`the offers that ${writer} sealed are opened, and tell who made them`, async () => {
		assert.ok(all.offers.length > 0);
		for (const v of all.offers) {
			const { offer, pushKey: by } = await push.openOffer(Envelope.decode(fromHex(v.envelope)));
			assert.equal(hex(by), hex(server));
			assert.deepEqual(plain(offer), v.value, v.name);
			assert.equal(hex0x(push.encodeOffer(offer)), v.payload, v.name);
		}
	});

	test(`the wake-ups that ${writer} sealed are opened, in either form and no other`, async () => {
		assert.ok(all.payloads.length > 0);
		for (const v of all.payloads) {
			assert.equal(utf8(v.sealed).length, 1382);
			assert.deepEqual(plain(await push.openPayload(v.sealed, sealKey)), v.value, v.name);
			const payload = await push.openPayload(v.plain, undefined);
			assert.deepEqual(plain(payload), v.value, v.name);
			assert.equal(push.plainPayload(payload), v.plain);
			assert.equal(await failureOf(() => push.openPayload(v.sealed, registrationKey)), 'cannot-open');
			assert.equal(await failureOf(() => push.openPayload(v.sealed, undefined)), 'cannot-open');
			assert.equal(await failureOf(() => push.openPayload(v.plain, sealKey)), 'malformed');
		}
	});
}

test('a reply for another account of the same keys is refused', async () => {
	const { pushKey, registrationKey } = readJson<PushVectors>('web/vectors/testdata/go/push.json');
	const [key, mine] = [fromHex(pushKey), fromHex(registrationKey)];
	const other = publicKeyOf(key);
	// sealReply cannot be made to lie, so the lie is put in by hand.
	const { seal } = await import('../src/whisper/index.js');
	const payload = push.encodeReply({ ...push.emptyReply, to: other });
	const envelope = await seal({ payload, topic: push.pushTopic(), sign: key, to: publicKeyOf(mine) });
	assert.equal(await failureOf(() => push.openReply(envelope, mine, publicKeyOf(key))), 'receiver');
	const unsigned = await seal({ payload, topic: push.pushTopic(), to: publicKeyOf(mine) });
	assert.equal(await failureOf(() => push.openReply(unsigned, mine, publicKeyOf(key))), 'signer');
	const long = await seal({ payload: new Uint8Array(70_000), topic: push.pushTopic(), sign: key, to: publicKeyOf(mine) });
	assert.equal(await failureOf(() => push.openReply(long, mine, publicKeyOf(key))), 'too-large');
});

test('a long text of a reply is cut between characters', () => {
	const reply = { ...push.emptyReply, text: 'x' + 'é'.repeat(200), reason: '🍝'.repeat(65) };
	const { text, reason } = push.decodeReply(push.encodeReply(reply));
	assert.equal(text, 'x' + 'é'.repeat(127));
	assert.equal(reason, '🍝'.repeat(64));
});

test('what a push service made of the plain form is read all the same', async () => {
	const hash = '0x' + 'ab'.repeat(32);
	const want = await push.openPayload(`{"v":2,"k":1,"s":7,"m":1,"h":["${hash}"]}`, undefined);
	assert.deepEqual(await push.openPayload(`{"v":"2","k":"1","s":"7","m":"1","h":"[\\"${hash}\\"]"}`, undefined), want);
	assert.equal(want.seq, 7n);
	assert.equal(hex0x(want.hashes[0]!), hash);
	const refused: Record<string, string> = {
		'not JSON': 'malformed', '[]': 'malformed', 'null': 'malformed', '{}': 'version', '{"v":3}': 'version', '{"v":2,"k":-1}': 'malformed',
		'{"v":2,"k":256}': 'malformed', '{"v":2,"k":1,"m":2}': 'malformed', '{"v":2,"k":1,"s":9007199254740993}': 'malformed',
		'{"v":2,"k":1,"h":["0xab"]}': 'malformed', '{"v":2,"k":1,"h":{}}': 'malformed', '{"v":2,"k":1,"h":[null]}': 'malformed',
		'{"v":2,"k":2}': 'malformed', '{"v":2,"k":1,"c":"00"}': 'malformed', '{"v":2,"k":2,"c":"xx"}': 'malformed',
		'{"v":2,"p":"AAAA"}': 'cannot-open', '{"v":2,"p":7}': 'malformed',
	};
	for (const [body, code] of Object.entries(refused)) {
		assert.equal(await failureOf(() => push.openPayload(body, undefined)), code, body);
	}
	const many = JSON.stringify({ v: 2, k: 1, h: Array.from({ length: 29 }, () => hash) });
	assert.equal(await failureOf(() => push.openPayload(many, undefined)), 'too-large');
	assert.equal(await failureOf(() => push.openPayload(' '.repeat(4097), undefined)), 'too-large');
	assert.equal(await failureOf(() => push.openPayload('é'.repeat(2049), undefined)), 'too-large');
});
