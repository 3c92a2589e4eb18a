import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IndexedDbStore, MemoryStore, type Store } from '../src/device/index.js';
import { Inbox, maxShown, maxWaiting, newState } from '../src/device/state.js';
import { texts, World } from './device-support.js';
import { filled } from './support.js';

const get = async (store: Store, name: string): Promise<unknown> => {
	let held: unknown;
	await store.update(name, (value) => void (held = value));
	return held;
};

for (const [name, make] of Object.entries({ memory: () => new MemoryStore(), IndexedDB: () => new IndexedDbStore(`test ${Math.random()}`) })) {
	test(`${name}: a value is kept as it was, a failed change changes nothing`, async () => {
		const store = make();
		assert.equal(await get(store, 'a'), undefined);
		const value = { big: 2n ** 64n, bytes: filled(3, 1), list: [{ nested: undefined }] };
		await store.update('a', () => value);
		value.bytes.fill(9);
		assert.deepEqual(await get(store, 'a'), { big: 2n ** 64n, bytes: filled(3, 1), list: [{ nested: undefined }] });
		await store.update('b', () => 'another');
		await assert.rejects(
			store.update('a', (held) => {
				(held as typeof value).big = 0n;
				throw new Error('changed my mind');
			}),
			/changed my mind/,
		);
		await store.update('a', () => undefined);
		assert.deepEqual([(await get(store, 'a') as typeof value).big, await get(store, 'b')], [2n ** 64n, 'another']);
	});

	test(`${name}: changes in one moment come one after the other`, async () => {
		const store = make();
		await Promise.all(Array.from({ length: 50 }, () => store.update('n', (n = 0) => (n as number) + 1)));
		assert.equal(await get(store, 'n'), 50);
	});
}

test('IndexedDB: tabs share it, and one that removes it is not held up', async () => {
	const [one, two] = [new IndexedDbStore('shared'), new IndexedDbStore('shared')];
	await one.update('a', () => 1);
	await two.update('a', (n) => (n as number) + 1);
	assert.equal(await get(one, 'a'), 2);
	await new Promise<void>((resolve, reject) => {
		const removing = indexedDB.deleteDatabase('shared');
		removing.onsuccess = () => resolve();
		removing.onblocked = () => reject(new Error('somebody holds it open'));
	});
	assert.equal(await get(one, 'a'), undefined, 'it is made anew');
	await one.close();
	assert.equal(await get(one, 'a'), undefined);
});

test('IndexedDB: one that cannot be opened is tried again', async () => {
	const store = new IndexedDbStore('later');
	const real = indexedDB.open;
	indexedDB.open = function (name: string) {
		return real.call(indexedDB, name, 0); // which is refused
	};
	await assert.rejects(store.update('a', () => 1));
	indexedDB.open = real;
	await store.update('a', () => 1);
	assert.equal(await get(store, 'a'), 1);
});

test('a device lives in IndexedDB, and is the same after a restart', async () => {
	const world = new World();
	const device = await world.registered({ store: new IndexedDbStore('devices of a test') });
	await world.written('kept');
	const body = world.server.pushes.pop()!;
	assert.deepEqual(texts(await device.receive(body)), ['kept']);
	device.close();
	const again = await world.open({ store: new IndexedDbStore('devices of a test') });
	assert.deepEqual(again.registrationKey, device.registrationKey);
	assert.equal(await again.active(), true);
	const event = await again.history();
	assert.deepEqual(texts(event), ['kept']);
	await again.shown(event.previews.map((p) => p.hash));
	assert.deepEqual(texts(await again.receive(body)), []);
});

test('what was shown is forgotten in the order in which it came, and what waits has a limit', () => {
	const state = newState(0);
	const hash = (i: number): Uint8Array => {
		const bytes = filled(32, 0);
		new DataView(bytes.buffer).setUint32(0, i + 1);
		return bytes;
	};
	const inbox = new Inbox(state);
	for (let i = 0; i < maxShown + 10; i++) {
		inbox.shown(hash(i));
	}
	inbox.close();
	assert.equal(state.known.length, 8 * maxShown);
	const later = new Inbox(state);
	assert.deepEqual(later.await([hash(9), hash(10)], new Set()), []);
	assert.deepEqual(later.waiting.map((w) => w.hash), [hash(9)], 'the tenth oldest is new again, the next is known');
	const left = later.await(Array.from({ length: maxWaiting }, (_, i) => hash(1_000_000 + i)), new Set());
	assert.equal(later.waiting.length, maxWaiting);
	assert.deepEqual(left, [hash(1_000_000 + maxWaiting - 1)]);
});
