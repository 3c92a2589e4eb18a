// Several mailservers: which one is the best, which one is dead, and a move from one to the next.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equal, hex } from '../src/bytes.js';
import { type DeviceEvent, MemoryStore } from '../src/device/index.js';
import { newSuccession, type Offer } from '../src/push/index.js';
import { ListError, maxListed, ServerList, Several, Watch } from '../src/servers/index.js';
import { encrypt, publicKeyOf } from '../src/whisper/index.js';
import { family, registration, texts, work, World } from './device-support.js';
import { TestServer } from './server.js';
import { filled } from './support.js';

const now = 1_800_000_000_000;
const offered = (more: Partial<Offer> = {}): Offer => ({
	issued: 1_800_000_000n, expires: 1_800_003_600n, enode: 'enr:-', providers: [{ name: 'webpush', info: '' }],
	limits: { routes: 4n, channels: 1000n, lifetime: 1n, fetch: 64n, pow: 0.2 }, price: '', ...more,
});
const met = (key: number, more: Partial<Offer> = {}) => ({ pushKey: publicKeyOf(filled(32, key)), nodeKey: undefined, offer: offered(more) });

test('servers are ranked by price, by how often they answer, and by how soon', () => {
	const list = new ServerList();
	const [slow, fast, flaky, paid] = [met(1), met(2), met(3), met(4, { price: 'a euro a year' })];
	[slow, fast, flaky, paid].forEach((s, i) => list.add(`https://${i}.example`, s));
	list.add('https://hms.example', met(5, { providers: [{ name: 'hms', info: '' }] }));
	list.add('https://small.example', met(6, { limits: { ...offered().limits, channels: 5n } }));
	for (let i = 0; i < 4; i++) {
		list.asked(slow.pushKey, 200);
		list.asked(fast.pushKey, 20);
		list.asked(paid.pushKey, 20);
		list.asked(flaky.pushKey, i % 2 === 0 ? 1 : 0);
	}
	const need = { providers: ['direct', 'webpush'], channels: 20 };
	const rank = (l: ServerList, n = need as object) => l.rank(n, now).map((c) => hex(c.pushKey));
	assert.deepEqual(rank(list), [fast, slow, flaky, paid].map((s) => hex(s.pushKey)));
	assert.equal(list.rank({ ...need, free: true }, now).length, 3);
	assert.equal(list.rank({}, now + 7200_000).length, 0, 'the offers are over');
	assert.deepEqual(rank(new ServerList(structuredClone(list.all))), rank(list), 'it is plain data');
	list.remove(fast.pushKey);
	assert.equal(rank(list)[0], hex(slow.pushKey));
});

test('a list keeps the newest offer, knows the next push key, and takes nobody for another', () => {
	const refused = (code: string) => (error: unknown) => error instanceof ListError && error.code === code;
	const list = new ServerList();
	list.add('https://a.example', met(1));
	list.asked(met(1).pushKey, 10);
	assert.throws(() => list.add('https://a.example', met(1, { issued: 1_799_999_999n })), refused('replayed'));
	assert.throws(() => list.add('https://a.example', met(2)), refused('another'));
	const successions = [newSuccession(filled(32, 1), filled(32, 2), 1n, 2n)];
	const forged = [{ ...successions[0]!, signature: filled(64, 1) }];
	assert.throws(() => list.add('https://a.example', met(2, { successions: forged })), refused('another'));
	const next = list.add('https://a.example', met(2, { successions }));
	assert.equal(next.answered, 1, 'it is the same server');
	assert.equal(list.all.length, 1);
	for (let i = 1; i < maxListed; i++) {
		list.add(`https://${i}.example`, met(10 + i));
	}
	assert.throws(() => list.add('https://more.example', met(3)), refused('full'));
});

test('a server is dead that does not answer three times within three minutes', () => {
	const w = new Watch();
	assert.equal(w.verdict(0), 'fine');
	w.silent(0);
	w.silent(60_000);
	w.silent(174_000);
	assert.equal(w.verdict(174_000), 'unsure');
	assert.equal(w.verdict(180_000), 'dead');
	w.answered();
	assert.equal(w.verdict(240_000), 'fine');
	w.proved();
	assert.equal(w.verdict(240_000), 'withholds');
});

/** A device at one server, and another server. */
async function two() {
	const world = new World();
	const chats = [family, work];
	const former = await world.registered({ chats });
	const server = new TestServer(world.clock);
	[server.key, server.pushKey] = [filled(32, 0x46), publicKeyOf(filled(32, 0x46))];
	const store = new MemoryStore();
	const next = await world.open({ chats, pushKey: server.pushKey, transport: server, store, mail: { nodeKey: server.pushKey } });
	const moved: string[] = [];
	const several = new Several({ device: former, moved: async (to) => void moved.push(hex(to.pushKey)) });
	/** Somebody writes: both servers archive it, and ring for it. */
	const written = async (text: string): Promise<void> => {
		const envelope = await world.written(text);
		await server.deliver(envelope);
	};
	const shown = async (event: DeviceEvent): Promise<string[]> => {
		await several.shown(event.previews.map((p) => p.hash));
		return texts(event);
	};
	return { world, server, next, former, several, moved, written, shown };
}

test('a move misses nothing and shows nothing twice', async () => {
	const { world, server, next, several, moved, written, shown } = await two();
	await written('before');
	assert.deepEqual(await shown(await several.receive(world.server.pushes.shift()!)), ['before']);
	await several.move(next, registration);
	await assert.rejects(several.move(next, registration), /under way/);
	await written('between'); // the next one does not wake the device yet
	assert.deepEqual(moved, []);
	assert.deepEqual(await shown(await several.receive(world.server.pushes.shift()!)), ['between']);
	await written('in flight');
	const late = world.server.pushes.shift()!;
	assert.deepEqual(await shown(await several.receive(server.pushes.shift()!)), ['in flight'], 'the challenge, and what the next one has');
	assert.deepEqual(moved, [hex(server.pushKey)]);
	assert.equal(several.next, undefined);
	assert.ok(world.server.requests.some((r) => r.body.kind === 'unregister'), 'the former one is told');
	assert.deepEqual(await shown(await several.receive(late)), [], 'a push of the former one is a reason to look');
	await written('after');
	assert.equal(world.server.pushes.length, 0);
	while (server.pushes.length > 1) {
		await shown(await several.receive(server.pushes.shift()!));
	}
	assert.deepEqual(await shown(await several.receive(server.pushes.shift()!)), ['after']);
	assert.deepEqual(await shown(await several.history()), []);
});

test('what both servers give before it is shown comes once', async () => {
	const { world, server, next, several, written, shown } = await two();
	await several.move(next, registration);
	const challenge = server.pushes.shift()!;
	await written('twice');
	const first = await several.receive(world.server.pushes.shift()!);
	const second = await several.receive(challenge);
	assert.deepEqual([...texts(first), ...texts(second)], ['twice']);
	assert.deepEqual(await shown(first), ['twice']);
	assert.deepEqual(await shown(await several.history()), []);
});

test('a dead server is left, and what it did not tell of is in the history of the next', async () => {
	const { world, server, next, several, written, shown } = await two();
	await several.history();
	const dead = () => {
		throw new Error('nobody is there');
	};
	world.server.faults.push(...Array.from({ length: 1000 }, () => dead));
	await written('untold');
	await several.move(next, registration);
	assert.deepEqual(await shown(await several.receive(server.pushes.shift()!)), ['untold']);
	assert.ok(equal(several.device.pushKey, server.pushKey));
	await written('told');
	const event = await several.receive(server.pushes.pop()!);
	assert.deepEqual(await shown(event), ['told']);
});

test('a server that does not take the registration changes nothing', async () => {
	const { world, server, next, several, written, shown } = await two();
	server.faults.push(...Array.from({ length: 1000 }, () => () => {
		throw new Error('nobody is there');
	}));
	await assert.rejects(several.move(next, registration), /gave up/);
	assert.equal(several.next, undefined);
	await written('still');
	assert.deepEqual(await shown(await several.receive(world.server.pushes.shift()!)), ['still']);
});

test('a move is given up: the server in use stays', async () => {
	const { world, server, next, several, moved, written, shown } = await two();
	await several.move(next, registration);
	await several.stay();
	assert.ok(server.requests.some((r) => r.body.kind === 'unregister'));
	await written('still');
	assert.deepEqual(await shown(await several.receive(world.server.pushes.shift()!)), ['still']);
	assert.deepEqual(moved, []);
});

test('a message goes out once, by whoever takes it', async () => {
	const { world, server, next, several, shown } = await two();
	await several.move(next, registration);
	const sealed = await encrypt({ payload: filled(3, 0x61), topic: family.topic, key: family.key, now: new Date(world.clock.time) });
	await several.post(sealed);
	assert.equal(world.server.posted.length + server.posted.length, 1);
	await server.deliver(world.server.posted[0]!);
	assert.deepEqual(await shown(await several.receive(server.pushes.shift()!)), [], 'it is ours');
});
