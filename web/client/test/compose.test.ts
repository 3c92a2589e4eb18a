import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, utf8 } from '../src/bytes.js';
import { compose, profileOf, sentBy } from '../src/device/compose.js';
import { Device, newGroup } from '../src/device/index.js';
import { parseMessage, layOut } from '../src/whisper/message.js';
import { encrypt, envelop, newPrivateKey, publicKeyOf, seal, topicFor } from '../src/whisper/index.js';
import { texts, World, family } from './device-support.js';
import { runs } from './fuzz-support.js';
import { filled } from './support.js';

const key = filled(32, 0x11);
const sent = new Date(1_800_000_000_123);

test('a message tells under its signature when it was sent and by whom, whatever its length', () => {
	for (const size of [0, 1, 100, 170, 175, 180, 186, 187, 188, 255, 256, 400, 70_000]) {
		const profile = { name: 'Älice', topic: topicFor('a') };
		const m = parseMessage(layOut(compose({ payload: filled(size, 7), topic: topicFor('x'), key, sign: key }, sent, profile)));
		assert.equal(m.payload.length, size);
		assert.deepEqual(sentBy(m), sent, `${size}`);
		assert.deepEqual(profileOf(m), profile);
		const plain = layOut(compose({ payload: filled(size, 7), topic: topicFor('x'), key, sign: key }, sent));
		assert.equal(plain.length % 256, 0);
		assert.equal(profileOf(parseMessage(plain)), undefined);
	}
	const unsigned = parseMessage(layOut(compose({ payload: utf8('x'), topic: topicFor('x'), key }, sent, { name: 'A', topic: undefined })));
	assert.equal(sentBy(unsigned), undefined);
	assert.equal(profileOf(unsigned), undefined);
	assert.throws(() => compose({ payload: utf8('x'), topic: topicFor('x'), key, sign: key }, sent, { name: 'x'.repeat(65), topic: undefined }), RangeError);
});

test('fuzz: paddings of strangers', () => {
	const good = compose({ payload: utf8('x'), topic: topicFor('x'), key, sign: key }, sent, { name: 'Alice', topic: topicFor('a') }).padding!;
	const signer = publicKeyOf(key);
	fc.assert(
		fc.property(fc.nat(60), fc.uint8Array({ maxLength: 40 }), (at, bytes) => {
			const padding = concat(good.subarray(0, at), bytes, good.subarray(at + bytes.length));
			const profile = profileOf({ padding, signer });
			assert.ok(!profile || profile.topic === undefined || profile.topic.length === 4);
			assert.ok(!profile || utf8(profile.name).length <= 3 * 64);
		}),
		runs,
	);
});

test('previews tell when a message was sent, and a copy of its envelope does not change it', async () => {
	const world = new World();
	const device = await world.registered();
	const at = new Date(world.clock.time - 5000);
	const sealed = await encrypt(compose({ payload: utf8('hello'), topic: family.topic, key: family.key, sign: newPrivateKey() }, at, { name: 'Bob', topic: undefined }));
	await world.server.deliver(await envelop(sealed, { now: new Date(world.clock.time) }));
	const event = await device.receive(world.server.pushes.pop()!);
	assert.deepEqual(texts(event), ['hello']);
	const [p] = event.previews;
	assert.deepEqual([p!.sent, p!.claimed, p!.profile?.name], [at, false, 'Bob']);
	await device.shown([p!.hash]);
	await world.server.deliver(await envelop(sealed, { now: new Date(world.clock.time + 9000) }));
	assert.deepEqual(texts(await device.history()), [], 'it is the same message');
	await world.server.deliver(await seal({ payload: utf8('unsigned'), topic: family.topic, key: family.key, now: new Date(world.clock.time) }));
	const [q] = (await device.history()).previews;
	assert.equal(q!.claimed, true);
});

test('what is posted again is one message to those who have it, and wakes nobody of ours', async () => {
	const world = new World();
	const device = await world.registered();
	const sealed = await encrypt({ payload: utf8('once'), topic: family.topic, key: family.key });
	const hashes = [await device.post(sealed, { pow: 0 }), await device.post(sealed, { pow: 0, now: new Date(world.clock.time + 3000) })];
	assert.notEqual(hashes[0], hashes[1]);
	assert.equal(world.server.posted.length, 2);
	assert.deepEqual(texts(await device.history()), []);
	const other = await Device.open({ pushKey: world.server.pushKey, transport: world.server, clock: world.clock, chats: [family], mail: { nodeKey: world.server.pushKey } });
	for (const e of world.server.posted) {
		world.server.archive.push(e);
	}
	assert.deepEqual(texts(await other.history()), ['once']);
	const woken = world.server.requests.length;
	await device.post(sealed, { pow: 0, wake: true, now: new Date(world.clock.time + 6000) });
	assert.deepEqual(world.server.requests.slice(woken).map((r) => r.body.kind), ['fetch'], 'the server is told that this device has it, and no more');
	assert.equal(newGroup().length, 32);
});

test('what was on a topic before the device came by its chat is asked for', async () => {
	const world = new World();
	await world.written('before');
	const device = await world.registered({ chats: [] });
	await device.setChats([{ ...family, unlisted: true }]);
	assert.deepEqual([...world.server.accounts.values()].map((a) => a.channels.size), [0], 'the server is not told of it');
	assert.deepEqual(texts(await device.past(new Date(world.clock.time - 60_000), [family.topic])), ['before']);
});
