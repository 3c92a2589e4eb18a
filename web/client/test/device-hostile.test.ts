// What a server that lies, or somebody in its place, can do to a device.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { equal, hex0x, utf8 } from '../src/bytes.js';
import { DeviceError, type Frame, maxAnswer, maxFrame } from '../src/device/index.js';
import * as mail from '../src/mail/index.js';
import * as push from '../src/push/index.js';
import { encodeEnvelopes, Envelope, newPrivateKey, openAsymmetric, publicKeyOf, seal } from '../src/whisper/index.js';
import { family, texts, work, World } from './device-support.js';
import { runs, spoiled } from './fuzz-support.js';
import { type TestServer } from './server.js';
import { filled } from './support.js';

let world: World;
let server: TestServer;

beforeEach(() => {
	world = new World();
	server = world.server;
});

const envelopeFrame = (e: Envelope): Frame => ({ kind: 'envelope', bytes: e.raw });
const message = (text: string, chat = family, more: object = {}): Promise<Envelope> =>
	seal({ payload: utf8(text), topic: chat.topic, key: chat.key, now: new Date(world.clock.time), ...more });

test('only what was asked for is taken, once, and only from the server', async () => {
	const device = await world.registered();
	const wanted = await world.written('wanted');
	const unwanted = await message('unwanted');
	const stranger = newPrivateKey();
	server.faults.push(async (request) => {
		const fetched = (sent: Uint8Array[]): push.Reply => ({
			...push.emptyReply, id: request!.id, state: push.State.active, body: { kind: 'fetch', sent, missing: [], later: [] },
		});
		const forged = await push.sealReply({ ...fetched([]), state: push.State.dead }, stranger, device.registrationKey);
		const ring: push.ReplyBody = { kind: 'ring', body: utf8('{}') };
		return [
			envelopeFrame(forged),
			envelopeFrame(unwanted),
			{ kind: 'envelope', bytes: utf8('garbage') },
			{ kind: 'complete', bytes: utf8('garbage') },
			await server.frame({ ...fetched([]), id: filled(16, 9), state: push.State.dead }, device.registrationKey),
			await server.frame({ ...push.emptyReply, state: push.State.dead, body: ring }, device.registrationKey),
			// To another account: it cannot even be opened.
			await server.frame({ ...fetched([]), state: push.State.dead }, publicKeyOf(stranger)),
			{ kind: 'envelope', bytes: encodeEnvelopes([wanted, wanted, unwanted]) },
			envelopeFrame(wanted),
			await server.frame(fetched([wanted.hash]), device.registrationKey),
			envelopeFrame(unwanted),
		];
	});
	const event = await device.receive(server.pushes.pop()!);
	assert.deepEqual([event.error, texts(event)], [undefined, ['wanted']]);
	assert.equal(await device.active(), true);
});

test('an envelope on the topic of replies is fetched like any other', async () => {
	const chat = { name: 'odd', topic: push.pushTopic(), key: filled(32, 8) };
	const device = await world.registered({ chats: [chat] });
	await world.written('on the topic of replies', chat);
	assert.deepEqual(texts(await device.receive(server.pushes.pop()!)), ['on the topic of replies']);
});

test('a server that never ends its answer is cut off', async () => {
	const device = await world.registered();
	let sent = 0;
	const flood = { kind: 'envelope', bytes: new Uint8Array(1024 * 1024) } as const;
	server.exchange = async function* () {
		for (;;) {
			sent += flood.bytes.length;
			yield flood;
		}
	};
	await assert.rejects(device.status({ attempts: 1 }), (error: DeviceError) => (error.cause as DeviceError).code === 'too-much');
	assert.ok(sent <= maxAnswer + flood.bytes.length);
	const event = await device.history({ attempts: 1 });
	assert.equal(((event.error as DeviceError).cause as DeviceError).code, 'too-much');
});

test('a frame that is too long is not even read', async () => {
	const device = await world.registered();
	const wanted = await world.written('wanted');
	const long = new Uint8Array(maxFrame + 1);
	server.faults.push(async (request) => [
		{ kind: 'envelope', bytes: long },
		...(await server.answer(request!, device.registrationKey)),
	]);
	assert.deepEqual(texts(await device.receive(server.pushes.pop()!)), ['wanted']);
	assert.ok(wanted.raw.length < maxFrame);
});

test('a fetch that names nothing ends, and one that delivers nothing is not believed for good', async () => {
	const device = await world.registered();
	const envelope = await world.written('withheld');
	const body = server.pushes.pop()!;
	const reply = async (request: push.Request | undefined, sent: Uint8Array[]) => [
		await server.frame(
			{ ...push.emptyReply, id: request!.id, state: push.State.active, body: { kind: 'fetch', sent, missing: [filled(32, 5)], later: [] } },
			device.registrationKey,
		),
	];
	server.faults.push((request) => reply(request, [filled(32, 4)]));
	const event = await device.receive(body);
	assert.equal((event.error as DeviceError).code, 'bad-answer');
	assert.deepEqual(event.missing, [], 'only what was asked for can be missing');

	server.faults.push((request) => reply(request, [envelope.hash]));
	const second = await device.receive(body);
	assert.deepEqual([second.error, texts(second)], [undefined, []]);
	assert.deepEqual(texts(await device.history()), ['withheld'], 'it still waits');
});

test('what cannot be opened is dropped, and is not asked for for ever', async () => {
	const device = await world.registered();
	const noise = Envelope.encode({ expiry: 1_800_000_050, ttl: 50, topic: family.topic, data: filled(100, 3), nonce: 0n });
	await server.deliver(noise);
	const event = await device.receive(server.pushes.pop()!);
	assert.deepEqual([event.error, texts(event)], [undefined, []]);
	server.requests.length = 0;
	await device.history();
	assert.ok(!server.requests.some((r) => r.body.kind === 'fetch' && r.body.hashes.length > 0));
});

/** Answers a request for mail, and whatever else comes, with envelopes and an end mark. */
const mailed = (envelopes: Envelope[], end: Partial<mail.Complete>) => async (_: unknown, request: Envelope): Promise<Frame[]> => {
	await openAsymmetric(request, server.key);
	const complete = { id: request.hash, last: envelopes.at(-1)?.hash ?? filled(32, 0), cursor: mail.zeroCursor, refusal: '', ...end };
	return [...envelopes.map(envelopeFrame), { kind: 'complete', bytes: mail.encodeComplete(complete) }];
};

const end = { ...mail.since(1n), complete: true, log: filled(16, 0xd0) };

test('of the history only what was asked for is taken', async () => {
	const device = await world.registered();
	const old = await message('of last year', family, { now: new Date(world.clock.time - 365 * 86_400_000) });
	const elsewhere = await message('of others', work);
	const good = await message('good');
	server.faults.push(mailed([old, elsewhere, good, good], { cursor: end }));
	assert.deepEqual(texts(await device.history()), ['good']);
});

test('a history that breaks off is asked for again, and one that is refused is not', async () => {
	const device = await world.registered();
	const good = await message('good');
	const asked = () => server.mailRequests.length;
	await server.deliver(good);
	server.faults.push(
		mailed([], { id: filled(32, 1), refusal: 'request: forged' }), // the end of another answer
		mailed([], { last: good.hash }), // the last envelope is missing
		mailed([], { refusal: 'busy: retry after 2 s: many' }),
	);
	assert.deepEqual(texts(await device.history()), ['good']);
	assert.ok(world.clock.slept >= 2000);

	for (const refusal of ['expired: check the clock', 'no', 'busy: retry after 3600 s: many']) {
		const before = asked();
		server.faults.push(mailed([], { refusal }));
		const event = await device.history();
		assert.equal((event.error as DeviceError).code, 'mail-refused');
		assert.match(String(event.error), new RegExp(refusal));
		assert.equal(asked(), before, 'it was asked once, by the fault');
	}
});

test('a cursor that stands still ends the history', async () => {
	const device = await world.registered();
	const still = { ...mail.since(5n), log: filled(16, 0xd0) };
	server.faults.push(mailed([], { cursor: still }), mailed([], { cursor: still }));
	const event = await device.history();
	assert.equal((event.error as DeviceError).code, 'bad-answer');
});

test('a page of more envelopes than were asked for is refused', async () => {
	const device = await world.registered();
	const many = Array.from({ length: 257 }, (_, i) =>
		Envelope.encode({ expiry: 1_800_000_050 + i, ttl: 50, topic: family.topic, data: filled(100, i & 0xff), nonce: BigInt(i) }),
	);
	server.faults.push(mailed(many, { cursor: end }));
	const event = await device.history({ attempts: 1 });
	assert.equal(((event.error as DeviceError).cause as DeviceError).code, 'too-much');
});

test('an app that never says what it has shown is given no more than it has room for', async () => {
	const device = await world.registered();
	for (let i = 0; i < 1100; i++) {
		server.archive.push(await message(`message ${i}`));
	}
	const first = await device.history();
	assert.equal(first.more, true);
	assert.equal(first.error, undefined);
	assert.ok(first.previews.length <= 1024 && first.previews.length >= 900);
	await device.shown(first.previews.map((p) => p.hash));
	const second = await device.history();
	assert.equal(second.more, false);
	assert.equal(new Set([...texts(first), ...texts(second)]).size, 1100);
});

test('fuzz: a device survives any frames, and knows afterwards what it knew', async () => {
	const device = await world.registered();
	const envelope = await world.written('survivor');
	const body = server.pushes.pop()!;
	const reply = await push.sealReply({ ...push.emptyReply, state: push.State.active }, server.key, device.registrationKey);
	const complete = mail.encodeComplete({ id: filled(32, 1), last: filled(32, 2), cursor: end, refusal: '' });
	const frame: fc.Arbitrary<Frame> = fc.record({
		kind: fc.constantFrom('envelope', 'complete'),
		bytes: spoiled(reply.raw.subarray(0, 300), envelope.raw, encodeEnvelopes([envelope]), complete),
	});
	await fc.assert(
		fc.asyncProperty(fc.array(frame, { maxLength: 5 }), fc.constantFrom('receive', 'history', 'status'), async (frames, what) => {
			server.faults.length = 0;
			server.faults.push(() => frames);
			if (what === 'status') {
				await assert.rejects(device.status({ attempts: 1 }), DeviceError);
				return;
			}
			const event = what === 'receive' ? await device.receive(body, { attempts: 1 }) : await device.history({ attempts: 1 });
			assert.ok(event.error instanceof DeviceError);
		}),
		{ numRuns: Math.ceil(runs.numRuns / 5) },
	);
	server.faults.length = 0;
	const event = await device.receive(body);
	assert.deepEqual([event.error, texts(event)], [undefined, ['survivor']]);
	assert.ok(equal(utf8(event.previews[0]!.hash), utf8(hex0x(envelope.hash))));
});
