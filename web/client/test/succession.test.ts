// A device whose server takes another push key.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { hex } from '../src/bytes.js';
import { isRefused, MemoryStore, type Store } from '../src/device/index.js';
import * as push from '../src/push/index.js';
import { publicKeyOf } from '../src/whisper/index.js';
import { registration, texts, World } from './device-support.js';
import { type TestServer } from './server.js';
import { filled } from './support.js';

let world: World;
let server: TestServer;

beforeEach(() => {
	world = new World();
	({ server } = world);
});

const madeFor = (): string[] => server.requests.map((r) => hex(r.server));

test('a device that sleeps while the push key changes is woken, fetches, and has gone on', async () => {
	const first = server.pushKey;
	const device = await world.registered();
	const one = server.rotate(0x51);
	await world.written('in the overlap');
	server.requests.length = 0;
	assert.deepEqual(texts(await device.receive(server.pushes.pop()!)), ['in the overlap']);
	assert.equal(hex(device.pushKey), hex(one.next));
	await device.status();
	assert.deepEqual(madeFor(), [hex(one.former), hex(one.next)]);

	// The account is found under either key, and is one.
	for (const pushKey of [one.former, one.next]) {
		const again = await world.open({ pushKey });
		assert.deepEqual([hex(again.registrationKey), hex(again.pushKey)], [hex(device.registrationKey), hex(one.next)]);
	}
	const two = server.rotate(0x52);
	await device.status();
	for (const pushKey of [first, one.next, two.next]) {
		const again = await world.open({ pushKey });
		assert.deepEqual([hex(again.registrationKey), hex(again.pushKey)], [hex(device.registrationKey), hex(two.next)]);
	}
	// Who was told of neither follows both at once.
	const late = await world.open({ pushKey: first, store: new MemoryStore() });
	await late.status().catch(() => undefined);
	assert.equal(hex(late.pushKey), hex(two.next));
});

test('what is asked with a key that is not answered to any more is asked again with the next', async () => {
	const device = await world.registered();
	const one = server.rotate(0x51);
	server.retired = 'leads';
	server.requests.length = 0;
	assert.equal((await device.status()).state, push.State.active);
	assert.deepEqual(madeFor(), [hex(one.former), hex(one.next)]);
});

test('a key that others may know leads to no other: the app is given the next', async () => {
	const device = await world.registered();
	const one = server.rotate(0x51);
	server.retired = 'leaked';
	await assert.rejects(device.status(), (error) => isRefused(error, push.Code.retired));
	assert.equal(hex(device.pushKey), hex(one.former));
	const given = await world.open({ pushKey: one.next, formerPushKeys: [one.former] });
	assert.equal(hex(given.registrationKey), hex(device.registrationKey));
	assert.equal((await given.status()).state, push.State.active);
	assert.equal(hex((await world.open({ pushKey: one.next })).registrationKey), hex(device.registrationKey), 'it is kept');
	// Another tab that was open before finds it in the store.
	assert.equal((await device.status()).state, push.State.active);
});

test('a succession that is not signed by both is not followed', async () => {
	const device = await world.registered();
	const one = server.rotate(0x51);
	const thief = push.newSuccession(filled(32, 0x45), filled(32, 0x66), one.begun, one.until);
	const spoiled = (bytes: Uint8Array): Uint8Array => bytes.map((b, i) => (i === 9 ? b ^ 1 : b));
	const forged: Record<string, push.Succession> = {
		'not by the former key': { ...one, signature: spoiled(one.signature) },
		'not by the next key': { ...one, consent: spoiled(one.consent) },
		'to a key that did not consent': { ...one, next: thief.next, signature: thief.signature },
		'to what is no key': { ...one, next: filled(33, 9) },
		'from a key that is not ours': { ...one, former: thief.next },
	};
	for (const [name, succession] of Object.entries(forged)) {
		server.successions = [succession];
		await device.status();
		assert.equal(hex(device.pushKey), hex(one.former), name);
	}
});

test('the next key is kept before it is used', async () => {
	let full = false;
	const kept = new MemoryStore();
	const store: Store = {
		update: (name, change) =>
			kept.update(name, (held) => {
				const next = change(held);
				if (full && next !== undefined && (next as { pushKey?: unknown }).pushKey !== undefined) {
					throw new Error('no room');
				}
				return next;
			}),
	};
	const device = await world.registered({ store });
	const one = server.rotate(0x51);
	full = true;
	server.requests.length = 0;
	await device.status();
	await device.status();
	assert.deepEqual(madeFor(), [hex(one.former), hex(one.former)]);
	for (const pushKey of [one.former, one.former]) {
		assert.equal(hex((await world.open({ store, pushKey })).registrationKey), hex(device.registrationKey), 'a crash leaves it there');
	}
	full = false;
	await device.status();
	assert.equal(hex(device.pushKey), hex(one.next));
	assert.equal(hex((await world.open({ store, pushKey: one.former })).pushKey), hex(one.next));
});

test('a challenge of the former key is answered, as it was on its way', async () => {
	const device = await world.open();
	await device.register(registration);
	const challenge = server.pushes.pop()!;
	const one = server.rotate(0x51);
	await device.status();
	assert.equal(hex(device.pushKey), hex(one.next));
	await device.receive(challenge);
	const confirm = server.requests.at(-1)!.body as push.Confirm;
	assert.ok(push.proves(confirm, filled(16, 0xc0), one.former, device.registrationKey));
});

test('the successions of the vectors are those of their keys', () => {
	const made = push.newSuccession(filled(32, 0x45), filled(32, 0x46), 1_800_000_000n, 1_801_209_600n);
	assert.ok(push.verifySuccession(made));
	assert.deepEqual([hex(made.former), hex(made.next)], [hex(publicKeyOf(filled(32, 0x45))), hex(publicKeyOf(filled(32, 0x46)))]);
	assert.ok(!push.verifySuccession({ ...made, until: made.until + 1n }));
	assert.ok(!push.verifySuccession({ ...made, next: made.former }));
});
