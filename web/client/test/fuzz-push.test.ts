// Every byte is hostile: a decoder takes it or throws a ProtocolError, and what it took it
// can write again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, text, utf8 } from '../src/bytes.js';
import * as mail from '../src/mail/index.js';
import * as push from '../src/push/index.js';
import { Envelope, publicKeyOf } from '../src/whisper/index.js';
import { runs, spoiled } from './fuzz-support.js';
import { failure, failureOf, filled, plain, readJson } from './support.js';
import { type MailVectors } from './vectors-mail.js';
import { type PushVectors } from './vectors-push.js';

const pushFile = readJson<PushVectors>('web/vectors/testdata/go/push.json');
const mailFile = readJson<MailVectors>('web/vectors/testdata/go/mail.json');

const small = (digits: string[]): Uint8Array[] => digits.map((d) => fromHex(d)).filter((b) => b.length < 700);
const mailBytes = (inEnvelope: boolean): Uint8Array[] =>
	small(mailFile.requests.filter((v) => ((v.value as { form: string }).form !== 'plain') === inEnvelope).map((v) => v.bytes));

function fuzz<T>(name: string, good: Uint8Array[], decode: (bytes: Uint8Array) => T, again: (value: T) => void): void {
	test(`fuzz: ${name}`, () => {
		let taken = 0;
		fc.assert(
			fc.property(spoiled(...good), (bytes) => {
				if (failure(() => decode(bytes)) === undefined) {
					taken++;
					again(decode(bytes));
				}
			}),
			runs,
		);
		assert.ok(taken > 0);
	});
}

// A text that is no UTF-8 is longer when it is written again, and may not fit then.
fuzz('requests', small(pushFile.requests.map((v) => v.payload)), push.decodeRequest, (r) => failure(() => push.encodeRequest(r)));
fuzz('replies', small(pushFile.replies.map((v) => v.payload)), push.decodeReply, (r) => failure(() => push.encodeReply(r)));
fuzz('offers', small(pushFile.offers.map((v) => v.payload)), push.decodeOffer, (o) => failure(() => push.encodeOffer(o)));

fuzz('mail requests', mailBytes(true), mail.decodeMailRequest, (r) =>
	assert.deepEqual(plain(mail.decodeMailRequest(mail.encodeMailRequest(r))), plain(r)),
);
fuzz('plain mail requests', mailBytes(false), mail.decodePlainRequest, (r) =>
	assert.deepEqual(plain(mail.decodePlainRequest(mail.encodeMailRequest(r))), plain(r)),
);
fuzz('end marks', mailFile.completes.map((v) => fromHex(v.bytes)), mail.decodeComplete, (c) => {
	// An id that begins like a refusal is one of 2^48, and taken for a refusal.
	if (text(c.id.subarray(0, 6)) !== 'ERROR=') {
		assert.deepEqual(plain(mail.decodeComplete(mail.encodeComplete(c))), plain(c));
	}
});
fuzz('cursors', [mail.encodeCursor(mail.since(7n)), filled(36, 5), filled(40, 5)], mail.decodeCursor, (c) =>
	assert.deepEqual(plain(mail.decodeCursor(mail.encodeCursor(c))), plain(c)),
);

test('fuzz: payloads', async () => {
	const payloads = await Promise.all(pushFile.payloads.map((p) => push.openPayload(p.plain, undefined)));
	fc.assert(
		fc.property(spoiled(...payloads.map((p) => push.encodePayload(p).subarray(0, 120))), (bytes) => {
			let payload: push.Payload;
			if (failure(() => (payload = push.decodePayload(bytes))) === undefined) {
				assert.deepEqual(push.decodePayload(push.encodePayload(payload!)), payload!);
			}
		}),
		runs,
	);
});

test('fuzz: bodies of wake-ups', async () => {
	const key = filled(32, 0x5e);
	const changed = spoiled(...pushFile.payloads.flatMap((p) => [utf8(p.plain), utf8(p.sealed)]));
	const json = fc.json().map(utf8);
	const object = fc
		.record(
			Object.fromEntries(
				['v', 'p', 'k', 's', 'm', 'h', 'c', 'b', 'a'].map((m) => [
					m, fc.oneof(fc.constantFrom<unknown>(2, 0, 1, '2', '', null), fc.jsonValue(), fc.array(fc.string()), fc.string()),
				]),
			),
			{ requiredKeys: ['v'] },
		)
		.map((o) => utf8(JSON.stringify(o)));
	await fc.assert(
		fc.asyncProperty(fc.oneof(changed, json, object), fc.boolean(), async (body, sealed) => {
			await failureOf(() => push.openPayload(body, sealed ? key : undefined));
			await failureOf(() => push.openPayload(new TextDecoder().decode(body), sealed ? key : undefined));
		}),
		runs,
	);
});

test('fuzz: sealed wake-ups', async () => {
	const { sealKey, payloads } = pushFile;
	const sealed = Uint8Array.from(atob((JSON.parse(payloads[0]!.sealed) as { p: string }).p), (c) => c.charCodeAt(0));
	const flips = fc.array(fc.tuple(fc.nat(1023), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 });
	await fc.assert(
		fc.asyncProperty(flips, async (changes) => {
			const spoiled = sealed.slice();
			changes.forEach(([at, bits]) => (spoiled[at]! ^= bits));
			const body = `{"v":2,"p":"${btoa(String.fromCharCode(...spoiled))}"}`;
			const code = await failureOf(() => push.openPayload(body, fromHex(sealKey)));
			// Two changes may undo each other. The top bit of an encapsulated key means nothing.
			assert.ok(code === 'cannot-open' || changes.every(([at, bits]) => at === 55 && bits === 0x80) || spoiled.every((b, i) => b === sealed[i]));
		}),
		{ numRuns: Math.ceil(runs.numRuns / 10) },
	);
	for (const point of [0, 1]) {
		// Points of small order agree on no secret.
		const spoiled = sealed.slice();
		spoiled.fill(0, 24, 56);
		spoiled[24] = point;
		const body = `{"v":2,"p":"${btoa(String.fromCharCode(...spoiled))}"}`;
		assert.equal(await failureOf(() => push.openPayload(body, fromHex(sealKey))), 'cannot-open');
	}
});

test('fuzz: envelopes of requests and replies', async () => {
	const [pushKey, registrationKey] = [fromHex(pushFile.pushKey), fromHex(pushFile.registrationKey)];
	const data = Envelope.decode(fromHex(pushFile.replies[0]!.envelope)).data;
	await fc.assert(
		fc.asyncProperty(spoiled(data), async (changed) => {
			const envelope = Envelope.encode({ expiry: 60, ttl: 50, topic: push.pushTopic(), data: changed, nonce: 0n });
			await failureOf(() => push.openReply(envelope, registrationKey, publicKeyOf(pushKey)));
			await failureOf(() => push.openRequest(envelope, pushKey));
			await failureOf(() => push.openOffer(envelope));
		}),
		{ numRuns: Math.ceil(runs.numRuns / 10) },
	);
});
