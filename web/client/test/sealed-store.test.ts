import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hex, utf8 } from '../src/bytes.js';
import { DeviceError, IndexedDbStore, MemoryStore, SealedStore, type Store } from '../src/device/index.js';
import { decodeValue, encodeValue } from '../src/device/values.js';
import { family, registration, texts, World } from './device-support.js';
import { runs, spoiled } from './fuzz-support.js';
import { failure, filled } from './support.js';

/** What lies under a name. */
async function raw(store: Store, name: string): Promise<unknown> {
	let value: unknown;
	await store.update(name, (held) => void (value = held));
	return value;
}

const flat = (value: unknown): string => JSON.stringify(value, (_, v: unknown) => (v instanceof Uint8Array ? hex(v) : typeof v === 'bigint' ? String(v) : v));

test('a device works as before, and its keys do not lie in the store as they are', async () => {
	const world = new World();
	const inner = new IndexedDbStore('sealed device');
	const device = await world.registered({ store: await SealedStore.open(inner) });
	await world.written('hello');
	assert.deepEqual(texts(await device.receive(world.server.pushes.pop()!)), ['hello']);
	const value = await raw(inner, hex(world.server.pushKey));
	assert.deepEqual(Object.keys(value as object), ['sealed']);
	// Another window opens the same account.
	const again = await world.open({ store: await SealedStore.open(inner) });
	assert.deepEqual(again.registrationKey, device.registrationKey);
	assert.equal(await again.active(), true);
});

test('an account of an earlier version is encrypted at once, and stays the same', async () => {
	const world = new World();
	const inner = new IndexedDbStore('migrated device');
	const before = await world.registered({ store: inner });
	const name = hex(world.server.pushKey);
	const { registrationKey } = (await raw(inner, name)) as { registrationKey: Uint8Array };
	assert.equal(registrationKey.length, 32);
	const sealed = await SealedStore.open(inner);
	await sealed.migrate(name);
	assert.ok(!flat(await raw(inner, name)).includes(hex(registrationKey)));
	const after = await world.open({ store: sealed });
	assert.deepEqual(after.registrationKey, before.registrationKey);
	await world.written('still there');
	assert.deepEqual(texts(await after.receive(world.server.pushes.pop()!)), ['still there']);
	await after.register(registration);
	assert.equal(after.chats[0], family);
});

test('changes of two windows do not overwrite one another', async () => {
	const inner = new IndexedDbStore('two windows');
	const [a, b] = [await SealedStore.open(inner), await SealedStore.open(inner)];
	const add = (store: Store): Promise<void> => store.update('n', (held) => ((held as number | undefined) ?? 0) + 1);
	await Promise.all(Array.from({ length: 40 }, (_, i) => add(i % 2 ? a : b)));
	let n: unknown;
	await a.update('n', (held) => void (n = held));
	assert.equal(n, 40);
	await assert.rejects(a.update('n', () => {
		throw new Error('no');
	}), /no/);
	await add(b);
	await a.update('n', (held) => void (n = held));
	assert.equal(n, 41);
});

test('what was spoiled, or encrypted under another key, is refused and left alone', async () => {
	const inner = new MemoryStore();
	const store = await SealedStore.open(new IndexedDbStore('one key'));
	const other = await SealedStore.open(new IndexedDbStore('another key'));
	const sealed = await store.seal(utf8('x'));
	await assert.rejects(other.unseal(sealed), (e) => e instanceof DeviceError && e.code === 'damaged');
	sealed[20]! ^= 1;
	await assert.rejects(store.unseal(sealed), (e) => e instanceof DeviceError && e.code === 'damaged');
	await assert.rejects(store.unseal(filled(3, 0)), (e) => e instanceof DeviceError && e.code === 'damaged');
	await inner.update('v', () => ({ sealed }));
	assert.throws(() => encodeValue({ key: new Map() }), TypeError);
});

test('values come back as they were', () => {
	const leaf = fc.oneof(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0)), fc.boolean(), fc.constant(null), fc.bigInt(), fc.uint8Array());
	const { tree } = fc.letrec((tie) => ({
		tree: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('tree')), fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('$bytes', '$bigint', '$$bytes', '__proto__')), tie('tree'), { noNullPrototype: true })),
	}));
	fc.assert(fc.property(tree, (value) => assert.deepEqual(decodeValue(encodeValue(value)), value)), runs);
});

test('fuzz: values', () => {
	const good = encodeValue({ a: filled(3, 1), b: [1n, 'x', { $bytes: 'y' }], c: null });
	fc.assert(fc.property(spoiled(good), (bytes) => void failure(() => decodeValue(bytes))), runs);
});
