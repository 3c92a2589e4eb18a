import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { hex, hex0x, utf8 } from '../src/bytes.js';
import { chatId, Device, DeviceError, MemoryStore, newGroup } from '../src/device/index.js';
import * as push from '../src/push/index.js';
import { Envelope, newPrivateKey, publicKeyOf, seal } from '../src/whisper/index.js';
import { family, registration, texts, work, World } from './device-support.js';
import { type TestClock, type TestServer } from './server.js';
import { filled } from './support.js';

let world: World;
let clock: TestClock;
let server: TestServer;
let store: MemoryStore;

beforeEach(() => {
	world = new World();
	({ clock, server, store } = world);
});

const fieldsOf = ({ expiry, ttl, topic, data, nonce }: Envelope) => ({ expiry, ttl, topic, data, nonce });

const open: World['open'] = (config) => world.open(config);
const registered: World['registered'] = (config) => world.registered(config);
const written: World['written'] = (text, chat, more) => world.written(text, chat, more);

test('a device registers, confirms, is woken, fetches and shows', async () => {
	const device = await open();
	assert.equal(await device.active(), false);
	await device.register(registration);
	assert.equal(await device.active(), false);
	const challenge = await device.receive(server.pushes.pop()!);
	assert.deepEqual([challenge.kind, challenge.error, challenge.previews], [push.PayloadKind.challenge, undefined, []]);
	assert.equal(await device.active(), true);

	const alice = newPrivateKey();
	const envelope = await written('Dinner is at\nseven.', family, { sign: alice });
	const event = await device.receive(server.pushes.pop()!);
	assert.equal(event.error, undefined);
	assert.deepEqual([event.seq, event.gap, event.more, event.missing], [1n, false, false, []]);
	const hash = hex0x(envelope.hash);
	assert.deepEqual(event.previews, [{
		chat: 'family', chatId: chatId(family), read: false, topic: hex0x(family.topic), sender: hex0x(publicKeyOf(alice)), payload: utf8('Dinner is at\nseven.'),
		text: 'Dinner is at seven.', sent: new Date(1_800_000_000_000), claimed: true, profile: undefined, hash, message: hex0x(envelope.message()),
		link: `whisper:${hex0x(family.topic)}/${hash}`,
	}]);
	await device.shown([hash]);
	assert.deepEqual(server.only().waiting, [], 'the fetch is the receipt');

	const status = await device.status();
	assert.equal(status.state, push.State.active);
	assert.equal(status.details?.seq, 1n);
});

test('what was not said to be shown comes again, under the same hash, also after a crash', async () => {
	const device = await registered();
	const envelope = await written('once');
	const body = server.pushes.pop()!;
	const hash = hex0x(envelope.hash);
	assert.deepEqual((await device.receive(body)).previews.map((p) => p.hash), [hash]);
	assert.deepEqual((await device.receive(body)).previews.map((p) => p.hash), [hash]);

	// The app died before it showed anything: the next run finds it without any push.
	const again = await open();
	assert.deepEqual((await again.history()).previews.map((p) => p.hash), [hash]);
	await again.shown([hash]);
	assert.deepEqual(texts(await again.history()), []);
	assert.deepEqual(texts(await again.receive(body)), []);
	assert.deepEqual(texts(await (await open()).history()), []);
});

test('a message that comes in another envelope is the same message', async () => {
	const device = await registered();
	const first = await written('twice');
	const twin = Envelope.encode({ expiry: first.expiry + 7, ttl: first.ttl, topic: first.topic, data: first.data, nonce: 5n });
	const event = await device.receive(server.pushes.pop()!);
	await server.deliver(twin);
	const second = await device.receive(server.pushes.pop()!);
	assert.deepEqual(second.previews.map((p) => p.hash), event.previews.map((p) => p.hash), 'the notification is replaced');
	await device.shown([event.previews[0]!.hash]);
	const third = Envelope.encode({ expiry: first.expiry + 9, ttl: first.ttl, topic: first.topic, data: first.data, nonce: 5n });
	await server.deliver(third);
	assert.deepEqual(texts(await device.receive(server.pushes.pop()!)), []);
});

test('a fetch whose answer is lost is repeated, by the next start if need be', async () => {
	const device = await registered();
	await written('important');
	const lost = () => {
		throw new Error('the link broke');
	};
	server.faults.push(lost, lost, lost, lost);
	const event = await device.receive(server.pushes.pop()!);
	assert.deepEqual(texts(event), []);
	assert.ok(event.error instanceof DeviceError && event.error.code === 'gave-up');
	assert.match(event.error.message, /the link broke/);
	// The server takes the fetch for the receipt, and names it no more. The device knows
	// what it asked for, whatever the history says.
	server.only().waiting = [];
	server.page = 0;
	server.requests.length = 0;
	const next = await open();
	server.faults.push(() => undefined, lost, lost, lost, lost);
	assert.deepEqual(texts(await next.history()), ['important']);
	assert.deepEqual(server.requests.map((r) => r.body.kind), ['fetch']);
});

test('when pushes were lost, the history brings what they told of', async () => {
	const device = await registered();
	await written('first');
	server.pushes.length = 0;
	const [account] = server.accounts.values();
	account!.waiting = []; // somebody else's receipt
	await written('second');
	const event = await device.receive(server.pushes.pop()!);
	assert.equal(event.gap, true);
	assert.deepEqual(texts(event), ['first', 'second']);
});

test('what came by the history needs no wake-up any more', async () => {
	const device = await registered();
	await written('first');
	await written('second');
	assert.equal(server.only().waiting.length, 2);
	assert.deepEqual(texts(await device.history()), ['first', 'second']);
	assert.deepEqual(server.only().waiting, []);
	assert.ok(server.requests.every((r) => r.body.kind !== 'fetch' || r.body.hashes.length === 0), 'nothing was sent again');
});

test('more than a push can name is fetched all the same, in pages', async () => {
	const device = await registered();
	server.page = 7;
	for (let i = 0; i < 40; i++) {
		await written(`message ${i}`);
	}
	const event = await device.receive(server.pushes.at(-1)!);
	assert.equal(event.error, undefined);
	assert.deepEqual(texts(event), Array.from({ length: 40 }, (_, i) => `message ${i}`));
	assert.ok(server.mailRequests.length >= 6);
	assert.equal(server.mailRequests.at(-1)!.cursor.ascending, true);
	await device.shown(event.previews.map((p) => p.hash));
	server.mailRequests.length = 0;
	assert.deepEqual(texts(await device.history()), []);
	assert.equal(server.mailRequests.length, 1, 'it goes on behind what it has');
});

test('a mailserver that was installed anew is asked for all it has', async () => {
	const device = await registered();
	await written('before');
	await device.receive(server.pushes.pop()!).then((e) => device.shown(e.previews.map((p) => p.hash)));
	await device.history();
	server.log = filled(16, 0xe0);
	server.archive.length = 0;
	await written('after');
	server.pushes.length = 0;
	assert.deepEqual(texts(await device.history()), ['after']);
});

test('the first history begins when the device did, by the server\'s clock', async () => {
	await written('long before', family, { now: new Date(clock.time - 7200_000) });
	clock.ahead = -86_400_000; // a day behind
	const device = await open();
	await written('since');
	assert.deepEqual(texts(await device.history()), ['since']);
	const [request] = server.mailRequests;
	assert.ok(Math.abs(request!.lower - (clock.time / 1000 - 600)) < 10);
});

test('what was read on another device is dismissed, and not shown later', async () => {
	const device = await registered();
	const envelope = await written('read elsewhere');
	const body = server.pushes.pop()!;
	await server.push(server.only(), { ...push.emptyPayload, kind: push.PayloadKind.dismiss, hashes: [envelope.hash] });
	const event = await device.receive(server.pushes.pop()!);
	assert.deepEqual(event.dismissed, [hex0x(envelope.hash)]);
	assert.deepEqual(texts(await device.receive(body)), []);
	// Now that it was opened, the message is known in whatever envelope.
	await server.deliver(Envelope.encode({ ...fieldsOf(envelope), expiry: envelope.expiry + 1 }));
	assert.deepEqual(texts(await device.receive(server.pushes.pop()!)), []);
});

test('a dismissal that was lost comes with the next reply, until the device has said that it came', async () => {
	const device = await registered();
	const read = await written('read elsewhere');
	const event = await device.receive(server.pushes.pop()!);
	await device.shown(event.previews.map((p) => p.hash));
	server.only().owed = [read.hash];
	await written('news');
	const next = await device.receive(server.pushes.pop()!);
	assert.deepEqual([texts(next), next.dismissed], [['news'], [hex0x(read.hash)]]);
	assert.equal(server.only().owed.length, 1, 'it does not know yet');

	// Read while it waits here, and told by the reply that it is fetched with: it is not shown at all.
	const late = await written('read at once');
	server.only().owed.push(late.hash);
	const last = await device.receive(server.pushes.pop()!);
	assert.deepEqual([texts(last).includes('read at once'), last.dismissed], [false, [hex0x(late.hash)]]);
	assert.deepEqual(server.only().owed.map(hex0x), [hex0x(late.hash)], 'it knows of the first one');
});

test('a device of several asks at its start for dismissals that were lost, also if there is no news', async () => {
	const alone = await registered();
	server.requests.length = 0;
	await alone.history();
	assert.ok(!server.requests.some((r) => r.body.kind === 'fetch'), 'one that is alone is owed none');

	await alone.register({ ...registration, group: newGroup() });
	const envelope = await written('read elsewhere');
	const event = await alone.receive(server.pushes.pop()!);
	await alone.shown(event.previews.map((p) => p.hash));
	server.only().owed = [envelope.hash];
	assert.deepEqual((await alone.history()).dismissed, [hex0x(envelope.hash)]);
	assert.deepEqual((await alone.history()).dismissed, [], 'once');
	assert.deepEqual(server.only().owed, []);
});

test('what the server no longer has is told, and not asked for again', async () => {
	const device = await registered();
	const envelope = await written('gone');
	const body = server.pushes.pop()!;
	server.archive.length = 0;
	assert.deepEqual((await device.receive(body)).missing, [hex0x(envelope.hash)]);
	server.requests.length = 0;
	await device.history();
	assert.ok(!server.requests.some((r) => r.body.kind === 'fetch'));
});

test('a clock that is off is put right by the server', async () => {
	clock.ahead = 3600_000;
	const device = await registered();
	assert.equal(server.requests[0]!.body.kind, 'register');
	assert.ok(server.requests.length > 2, 'the first one was refused');
	assert.equal((await device.status()).state, push.State.active);
});

test('a server that asks for more work gets it, within reason', async () => {
	server.limits = { ...server.limits, pow: 0.4 };
	await registered();
	// What no phone should do is not done.
	server.limits = { ...server.limits, pow: 1e9 };
	const other = await open({ store: new MemoryStore(), miner: () => Promise.resolve(0n) });
	await assert.rejects(other.register(registration), { code: 'gave-up' });
});

test('a version that was lost with the store is raised above the server\'s', async () => {
	await registered();
	const account = server.only();
	account.version = BigInt(clock.time) + 1_000_000n;
	const device = await open();
	await device.register(registration);
	assert.equal(server.only().version, BigInt(clock.time) + 1_000_001n);
});

test('a busy server is asked again, and given up at last', async () => {
	const device = await registered();
	const busy = async (request: push.Request | undefined) => [
		await server.frame({ ...push.emptyReply, id: request!.id, code: push.Code.busy, text: 'come back later' }, device.registrationKey),
	];
	server.faults.push(busy, busy);
	assert.equal((await device.status()).state, push.State.active);
	server.faults.push(busy, busy, busy, busy);
	await assert.rejects(device.status(), (error: DeviceError) => error.code === 'gave-up' && /come back later/.test(error.message));
	server.faults.push(busy);
	await assert.rejects(device.status({ attempts: 1 }), { code: 'gave-up' });
});

test('a refusal is told by its code', async () => {
	const device = await open();
	await assert.rejects(device.status(), { code: 'refused', refusal: push.Code.notRegistered });
	const event = await device.fetch([hex0x(filled(32, 7))]);
	assert.ok(event.error instanceof DeviceError && event.error.refusal === push.Code.notRegistered);
});

test('a challenge of another server or for another account is not answered', async () => {
	const device = await registered();
	server.requests.length = 0;
	const challenge = { ...push.emptyPayload, kind: push.PayloadKind.challenge, code: filled(16, 0xc0) };
	const stranger = publicKeyOf(newPrivateKey());
	for (const names of [{}, { server: stranger, account: device.registrationKey }, { server: server.pushKey, account: stranger }]) {
		await server.push(server.only(), { ...challenge, ...names });
		const event = await device.receive(server.pushes.pop()!);
		assert.equal((event.error as { code: string }).code, 'receiver');
	}
	assert.deepEqual(server.requests, []);
});

test('wake-ups are taken in the form that was asked for, and in no other', async () => {
	const device = await registered();
	const plain = push.plainPayload({ ...push.emptyPayload, kind: push.PayloadKind.messages, seq: 1n, hashes: [filled(32, 1)] });
	await assert.rejects(device.receive(plain), { code: 'malformed' }, 'everybody can make the plain form');

	await device.register({ ...registration, plain: true });
	await written('in plain sight');
	assert.match(server.pushes.at(-1)!, /"h":/);
	assert.deepEqual(texts(await device.receive(server.pushes.pop()!)), ['in plain sight']);

	// A Register whose reply is lost: either form may come until one is told.
	server.faults.push(...Array.from({ length: 4 }, () => async (request: push.Request | undefined) => {
		await server.answer(request!, device.registrationKey);
		return [];
	}));
	await assert.rejects(device.register(registration), { code: 'gave-up' });
	await written('sealed again');
	assert.doesNotMatch(server.pushes.at(-1)!, /"h":/);
	assert.ok(texts(await device.receive(server.pushes.pop()!)).includes('sealed again'));
});

test('pushes of others, and what surrounds ours, are told apart', async () => {
	const device = await registered();
	await assert.rejects(device.receive('{"notification":"sale!"}'), { code: 'not-ours' });
	await assert.rejects(device.receive('hello'), { code: 'not-ours' });
	await assert.rejects(device.receive(utf8(' '.repeat(20_000))), { code: 'not-ours' });
	const other = await push.sealPayload({ ...push.emptyPayload, kind: push.PayloadKind.canary }, push.newSealKey().public);
	await assert.rejects(device.receive(other), { code: 'cannot-open' });
	await written('wrapped');
	const body = server.pushes.pop()!;
	assert.deepEqual(texts(await device.receive(utf8(JSON.stringify({ aps: {}, data: body })))), ['wrapped']);
	const canary = await push.sealPayload(push.emptyPayload, server.only().register.sealKey);
	assert.deepEqual((await device.receive(canary)).kind, push.PayloadKind.canary);
});

test('chats that come, change and go are told to the server, and told again where it is not known', async () => {
	const device = await registered();
	await device.setChats([family, work]);
	assert.deepEqual([...server.only().channels.keys()], [hex(family.topic), hex(work.topic)]);
	server.requests.length = 0;
	await device.setChats([work, family]);
	assert.deepEqual(server.requests, [], 'nothing changed');
	await device.setChats([{ ...family, mode: push.Mode.muted, mutedUntil: new Date(5000) }]);
	assert.deepEqual([...server.only().channels.values()], [{ topic: family.topic, mode: push.Mode.muted, mutedUntil: 5n }]);

	server.faults.push(...Array.from({ length: 4 }, () => async (request: push.Request | undefined) => {
		await server.answer(request!, device.registrationKey);
		return [];
	}));
	await assert.rejects(device.setChats([work]), { code: 'gave-up' });
	await device.setChats([family]);
	assert.deepEqual([...server.only().channels.values()], [{ topic: family.topic, mode: push.Mode.every, mutedUntil: 0n }]);
	await assert.rejects(device.setChats([{ name: 'neither', topic: filled(4, 0) }]), TypeError);
});

test('what is sent from here wakes nobody of the user, and is not shown', async () => {
	const device = await registered();
	const hash = await device.send({ payload: utf8('mine'), topic: family.topic, key: family.key });
	assert.equal(hex0x(server.posted[0]!.hash), hash);
	assert.ok(server.posted[0]!.pow(new Date(clock.time)) >= 0.2);
	assert.deepEqual(server.only().seen, [hash.slice(2)]);
	assert.deepEqual(texts(await device.history()), []);
	// One that is not registered can send as well.
	await (await open({ store: new MemoryStore() })).send({ payload: utf8('hi'), topic: family.topic, key: family.key });
	assert.equal(server.posted.length, 2);
});

test('what was read is told to the server in parts, and counts as shown whatever happens', async () => {
	server.limits = { ...server.limits, fetch: 2n };
	const device = await registered();
	await written('one');
	const event = await device.receive(server.pushes.pop()!);
	const hashes = [event.previews[0]!.hash, ...[1, 2].map((i) => hex0x(filled(32, i)))];
	server.requests.length = 0;
	await device.seen(hashes);
	assert.deepEqual(server.requests.map((r) => r.body.kind), ['seen', 'seen']);
	assert.deepEqual(texts(await device.history()), []);
	await assert.rejects(device.shown(['0x00']), { code: 'malformed' });
});

test('whoever may ring somebody does so under a key of no account', async () => {
	const device = await registered();
	const root = filled(32, 0x0b);
	const by = { capability: push.capability(root, 'alice'), handle: filled(16, 0x4a), holder: 'alice' };
	await device.notify(by, hex0x(filled(32, 9)), push.NotifyType.mention);
	assert.ok(push.verifies(server.notified[0]!, root, server.pushKey));
	assert.equal(server.accounts.size, 1);
});

test('a registration that ended is known to have', async () => {
	const device = await registered();
	await device.unregister();
	assert.equal(await device.active(), false);
	assert.equal(server.accounts.size, 0);
	await device.register(registration);
	await device.receive(server.pushes.pop()!);
	assert.equal(await device.active(), true);
});

test('the history brings what waits also when the server does not know the device any more', async () => {
	const device = await registered();
	await written('left over');
	server.faults.push(...Array.from({ length: 4 }, () => () => []));
	await device.receive(server.pushes.pop()!);
	server.accounts.clear();
	const event = await device.history();
	assert.equal(event.error, undefined);
	assert.deepEqual(texts(event), ['left over']);
});

test('tabs that share a store never use a version twice, and have one account', async () => {
	const [one, two] = await Promise.all([open(), open()]);
	assert.deepEqual(one.registrationKey, two.registrationKey);
	await one.register(registration);
	await one.receive(server.pushes.pop()!);
	const versions = () => server.requests.flatMap((r) => ('version' in r.body ? [r.body.version] : []));
	await Promise.all([one.setChats([family, work]), two.setChats([family, work])]);
	assert.equal(new Set(versions()).size, versions().length);

	await written('to both');
	const body = server.pushes.pop()!;
	const events = await Promise.all([one.receive(body), two.receive(body)]);
	assert.deepEqual(events.map(texts), [['to both'], ['to both']]);
	assert.equal(events[0]!.previews[0]!.hash, events[1]!.previews[0]!.hash);
	await one.shown([events[0]!.previews[0]!.hash]);
	assert.deepEqual(texts(await two.history()), []);
});

test('a store that was cleared is noticed', async () => {
	const device = await registered();
	await store.update(hex(server.pushKey), () => null);
	await assert.rejects(device.active(), { code: 'damaged' });
	const other = await open({ store: new MemoryStore() });
	const inOther = new MemoryStore();
	await Device.open({ pushKey: server.pushKey, transport: server, store: inOther });
	await inOther.update(hex(server.pushKey), (held) => (void store.update(hex(server.pushKey), () => held), undefined));
	await assert.rejects(device.active(), { code: 'replaced' });
	assert.equal(await other.active(), false);
	await store.update(hex(server.pushKey), () => ({ format: 99 }));
	await assert.rejects(open(), { code: 'damaged' });
});

test('a closed device ends what is under way, and what comes later', async () => {
	const device = await registered();
	server.faults.push(() => new Promise(() => undefined)); // never answered
	const asking = device.status();
	const waiting = device.history();
	setTimeout(() => device.close());
	await assert.rejects(asking, { code: 'closed' });
	await assert.rejects(waiting, { code: 'closed' });
	await assert.rejects(device.status(), { code: 'closed' });
});

test('a signal ends one call, and the next one has its turn', async () => {
	const device = await registered();
	const abort = new AbortController();
	server.faults.push(() => new Promise(() => undefined));
	const asking = device.status({ signal: abort.signal });
	const next = device.status();
	setTimeout(() => abort.abort(new Error('enough')));
	await assert.rejects(asking, /enough/);
	assert.equal((await next).state, push.State.active);
	await assert.rejects(device.status({ signal: AbortSignal.abort(new Error('before')) }), /before/);
});

test('who gives up while others are asking holds up nobody', async () => {
	const device = await registered();
	let answer!: () => void;
	const held = new Promise<undefined>((resolve) => (answer = () => resolve(undefined)));
	let first!: Promise<unknown>;
	await new Promise<void>((reached) => {
		server.faults.push(() => (reached(), held));
		first = device.status();
	});
	const abort = new AbortController();
	const second = device.status({ signal: abort.signal });
	abort.abort(new Error('enough'));
	await assert.rejects(second, /enough/);
	const before = server.requests.length;
	const third = device.status();
	await new Promise((resolve) => setTimeout(resolve, 100)); // time enough to be wrong
	assert.equal(server.requests.length, before, 'the third waits for the first all the same');
	answer();
	await first;
	assert.equal((await third).state, push.State.active);
});

test('a preview shows nothing that deceives', async () => {
	const device = await registered();
	await written('a\u0000b\u202ec\u2066d\te\r\nf');
	await written('é'.repeat(300));
	await server.deliver(await seal({ payload: Uint8Array.of(0x68, 0x69, 0xff), topic: family.topic, key: family.key, now: new Date(clock.time) }));
	assert.deepEqual(texts(await device.history()), ['abcd e f', 'é'.repeat(240) + '…', 'hi\ufffd']);
});

test('a server that says nothing is given up', async () => {
	const device = await registered();
	clock.timeouts = true;
	server.faults.push(...Array.from({ length: 4 }, () => () => new Promise<undefined>(() => undefined)));
	await assert.rejects(device.status(), (error: DeviceError) => error.code === 'gave-up' && /no answer within 8 s/.test(error.message));
});

test('a device without anything to open the history with says so', async () => {
	const device = await registered({ mail: undefined });
	const event = await device.history();
	assert.match(String(event.error), /DeviceConfig.mail/);
	assert.deepEqual(texts(await (await open({ chats: [], mail: undefined })).history()), []);
	await assert.rejects(device.register({ routes: [] }), TypeError);
	await assert.rejects(open({ pushKey: '0x04' }), { code: 'malformed' });
});
