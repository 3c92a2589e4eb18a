// The vectors of docs/protocol.md, pushext/pushwire/testdata/vectors.txt.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, fromHex, hex, text, utf8 } from '../src/bytes.js';
import { eciesDecrypt, eciesEncrypt } from '../src/whisper/ecies.js';
import { layOut, parseMessage } from '../src/whisper/message.js';
import { Envelope, mine, publicKeyOf, topicFor, workOf } from '../src/whisper/index.js';
import * as push from '../src/push/index.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { filled, readText } from './support.js';

const vectors = new Map<string, Uint8Array>();
for (const [, name, digits] of readText('pushext/pushwire/testdata/vectors.txt').matchAll(/^([a-z0-9-]+)\n((?: {2}[0-9a-f]+\n)+)/gm)) {
	vectors.set(name!, fromHex(digits!.replace(/\s/g, '')));
}

function vector(name: string): Uint8Array {
	const bytes = vectors.get(name);
	assert.ok(bytes, `there is no vector ${name}`);
	return bytes;
}

const pushPrivate = filled(32, 0x45);
const registrationPrivate = filled(32, 0x71);
const sealPrivate = filled(32, 0x5e);
const server = publicKeyOf(pushPrivate);
const account = publicKeyOf(registrationPrivate);
const [aa, bb] = [filled(32, 0), filled(32, 0)];
[aa[0], aa[31], bb[0], bb[31]] = [0xaa, 1, 0xbb, 2];

const requests = [
	'register', 'register-plain', 'register-chain', 'register-voucher', 'confirm', 'channels', 'unregister', 'status', 'status-test', 'fetch', 'seen', 'notify',
	'confirm-bound', 'fetch-received', 'fetch-owed', 'status-ledger', 'notify-bound',
];
const replies = [
	'register-reply', 'status-reply', 'status-reply-delivery', 'fetch-reply', 'fetch-reply-owed', 'clock-reply', 'ring', 'register-reply-standing', 'status-reply-standing', 'confirm-reply-ledger', 'fetch-reply-ledger',
	'confirm-reply-succession', 'fetch-reply-succession', 'refusal-retired', 'refusal',
];
const chainNumbers = [0, 1, push.maxChain - 1];
const payloads = ['messages', 'challenge', 'challenge-bound', 'dismiss', 'canary'];

test('every vector of the protocol is one that is tested', () => {
	const tested = [
		...requests, ...replies, ...payloads.flatMap((p) => [`payload-${p}`, `sealed-${p}`, `plain-${p}`]),
		'offer', 'offer-succession', 'capability', 'envelope-register', 'envelope-register-reply',
		'chain-start', ...chainNumbers.flatMap((n) => [`chain-link-${n}`, `chain-key-${n}`, `sealed-chain-${n}`]),
		'layers-message', 'layers-shared', 'layers-keys', 'layers-data', 'layers-envelope',
	];
	assert.deepEqual([...vectors.keys()].sort(), tested.sort());
});

for (const name of requests) {
	test(`protocol vector ${name}`, () => {
		const request = push.decodeRequest(vector(name));
		assert.equal(hex(push.encodeRequest(request)), hex(vector(name)));
		assert.equal(hex(request.id), '1d'.repeat(16));
		assert.equal(request.issued, 1_800_000_000_000n);
		assert.equal(request.body.kind, name.split('-')[0]);
	});
}

test('what the vector register says', () => {
	const { body } = push.decodeRequest(vector('register'));
	assert.deepEqual(body, {
		kind: 'register',
		version: 7n,
		routes: [
			{ provider: 'fcm', address: utf8('example-token'), keys: [] },
			{ provider: 'webpush', address: utf8('https://push.example/abc'), keys: [Uint8Array.of(4, 1, 2), Uint8Array.of(9, 8)] },
		],
		sealKey: filled(32, 3),
		plain: false,
		channels: [
			{ topic: fromHex('5a4ea131'), mode: push.Mode.every, mutedUntil: 0n },
			{ topic: fromHex('00000001'), mode: push.Mode.mentions, mutedUntil: 0n },
			{ topic: fromHex('00000002'), mode: push.Mode.muted, mutedUntil: 1800003600n },
		],
		lifetime: 604800n,
		group: utf8('family'),
		preferences: { root: filled(32, 0x0b), handle: filled(16, 0x4a), revoked: ['eve'] },
		chain: new Uint8Array(0),
		voucher: new Uint8Array(0),
	});
});

for (const number of chainNumbers) {
	test(`protocol vector chain ${number}`, async () => {
		const start = push.chainStart(sealPrivate, 2n);
		assert.equal(hex(start), hex(vector('chain-start')));
		const link = push.chainLink(start, number);
		assert.equal(hex(link), hex(vector(`chain-link-${number}`)));
		assert.equal(hex(push.chainKey(link)), hex(vector(`chain-key-${number}`)));
		const opened = await push.openPayload(vector(`sealed-chain-${number}`), sealPrivate);
		assert.deepEqual([opened.kind, opened.seq, opened.more], [push.PayloadKind.messages, 12n, true]);
		assert.deepEqual((push.decodeRequest(vector('register-chain')).body as push.Register).chain, start);
	});
}

for (const name of replies) {
	test(`protocol vector ${name}`, () => {
		assert.equal(hex(push.encodeReply(push.decodeReply(vector(name)))), hex(vector(name)));
	});
}

test('what the vector status-reply-standing says', () => {
	assert.deepEqual(push.decodeReply(vector('status-reply-standing')), {
		id: filled(16, 0x1d), code: push.Code.ok, text: '', state: push.State.active, reason: '', to: account,
		body: {
			kind: 'status', version: 7n, expires: 1800604800n, seq: 12n, plain: false,
			routes: [{ provider: 'fcm', state: push.State.active, reason: 'fcm 404 UNREGISTERED', doubt: 1_800_000_000n }],
			channels: [], revoked: [],
			limits: { routes: 4n, channels: 1000n, lifetime: 2592000n, fetch: 64n, pow: 0.2 },
			now: 1_800_000_000_000n, epoch: 7n, log: filled(16, 0x10),
		},
	});
	const refusal = push.decodeReply(vector('refusal'));
	assert.deepEqual([push.codeName(refusal.code), refusal.body], ['not_registered', undefined]);
});

test('the successions of the vectors are signed by both keys, and lead on', () => {
	const next = publicKeyOf(filled(32, 0x46));
	for (const name of ['confirm-reply-succession', 'fetch-reply-succession', 'refusal-retired']) {
		const reply = push.decodeReply(vector(name));
		assert.deepEqual(reply.successions, [push.newSuccession(pushPrivate, filled(32, 0x46), 1_800_000_000n, 1_801_209_600n)], name);
		assert.deepEqual(push.follow(server, reply.successions!).map((s) => hex(s.next)), [hex(next)]);
	}
	assert.equal(hex(push.offeredKey(push.decodeOffer(vector('offer-succession')), server)), hex(next));
	assert.equal(push.codeName(push.decodeReply(vector('refusal-retired')).code), 'retired');
});

test('the proofs of the vectors are those that are made', () => {
	const confirm = push.decodeRequest(vector('confirm-bound')).body as push.Confirm;
	const code = filled(16, 0xc0);
	assert.deepEqual(push.confirmation(code, server, account), confirm);
	assert.ok(push.proves(confirm, code, server, account));
	assert.ok(!push.proves(confirm, filled(16, 0xc1), server, account));
	assert.ok(!push.proves(confirm, code, account, server));
	assert.ok(push.proves(push.decodeRequest(vector('confirm')).body as push.Confirm, code, server, account));

	const root = filled(32, 0x0b);
	const key = push.capability(root, 'alice');
	assert.equal(hex(key), hex(vector('capability')));
	const bound = push.decodeRequest(vector('notify-bound')).body as push.Notify;
	const by = { capability: key, handle: filled(16, 0x4a), holder: 'alice' };
	assert.deepEqual(push.notification(by, aa, push.NotifyType.mention, server), bound);
	assert.ok(push.verifies(bound, root, server));
	assert.ok(!push.verifies(bound, root, account));
	assert.ok(push.verifies(push.decodeRequest(vector('notify')).body as push.Notify, root, server));
});

test('protocol vector offer', () => {
	assert.equal(hex(push.encodeOffer(push.decodeOffer(vector('offer')))), hex(vector('offer')));
});

for (const name of payloads) {
	test(`protocol vectors of the payload ${name}`, async () => {
		const payload = push.decodePayload(vector(`payload-${name}`));
		assert.equal(hex(push.encodePayload(payload)), hex(vector(`payload-${name}`)));
		assert.equal(push.plainPayload(payload), text(vector(`plain-${name}`)));
		assert.deepEqual(await push.openPayload(vector(`plain-${name}`), undefined), payload);
		assert.deepEqual(await push.openPayload(vector(`sealed-${name}`), sealPrivate), payload);
		assert.deepEqual(await push.openPayload(text(vector(`sealed-${name}`)), sealPrivate), payload);
		if (name === 'messages') {
			assert.deepEqual(payload, { ...push.emptyPayload, kind: push.PayloadKind.messages, seq: 12n, more: true, hashes: [aa, bb] });
		}
		assert.equal(push.namesBoth(payload, server, account), name === 'challenge-bound');
	});
}

test('the envelopes of the vectors are opened', async () => {
	const { request, signer } = await push.openRequest(Envelope.decode(vector('envelope-register')), pushPrivate);
	assert.equal(hex(signer), hex(account));
	assert.equal(hex(push.encodeRequest(request)), hex(vector('register')));
	const reply = await push.openReply(Envelope.decode(vector('envelope-register-reply')), registrationPrivate, server);
	assert.equal(hex(push.encodeReply(reply)), hex(vector('register-reply')));
});

test('the layers of a request, one by one', async () => {
	const request = { ...push.decodeRequest(vector('status')), server };
	const payload = push.encodeRequest(request);
	const padding = filled(1024 - 65 - 2 - payload.length, 0);
	const message = layOut({ payload, padding, sign: registrationPrivate });
	assert.equal(hex(message), hex(vector('layers-message')));
	assert.equal(hex(secp256k1.getSharedSecret(filled(32, 0xe4), server, true).subarray(1)), hex(vector('layers-shared')));
	const data = eciesEncrypt(server, message, filled(32, 0xe4), filled(16, 0x1f));
	assert.equal(hex(data), hex(vector('layers-data')));
	const fields = { expiry: 1_800_000_050, ttl: 50, topic: push.pushTopic(), data };
	const nonce = await mine(workOf(fields), 0.2);
	assert.equal(nonce, 4899n);
	assert.equal(hex(Envelope.encode({ ...fields, nonce }).raw), hex(vector('layers-envelope')));
	assert.equal(hex(parseMessage(eciesDecrypt(pushPrivate, data)).payload), hex(payload));
	assert.equal(hex(push.pushTopic()), '87a1d821');
	assert.equal(hex(topicFor('whisperpush/2/offer')), hex(push.offerTopic()));
	assert.equal(vector('layers-keys').length, concat(filled(16, 0), filled(32, 0)).length);
});
