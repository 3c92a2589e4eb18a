// Devices in Node against a node of this repository, over its door.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hex0x, utf8 } from '../src/bytes.js';
import { Device, DoorTransport, isRefused, MemoryStore, nodeKeyOf, passwordChat, providerInfo, applicationServerKey } from '../src/device/index.js';
import { Code, PayloadKind } from '../src/push/index.js';
import { DeviceError } from '../src/device/index.js';
import { type LedgerState, newestOf } from '../src/device/ledger.js';
import { type State } from '../src/device/state.js';
import { Town } from './wnode.js';

let town: Town;
before(async () => {
	town = await Town.start();
});
after(() => (town as Town | undefined)?.stop());

const chat = await passwordChat('family', 'our secret');

async function open(name = 'phone'): Promise<Device> {
	const { pushKey, enode, door } = town;
	assert.ok(name);
	return Device.open({ pushKey, transport: new DoorTransport(door), store: new MemoryStore(), chats: [chat], mail: { nodeKey: nodeKeyOf(enode) } });
}

const write = async (from: Device, text: string): Promise<string> => from.send({ ...chat, payload: utf8(text) });

test('the offer tells an app what it needs, signed by the server', async () => {
	const { offer, pushKey, nodeKey } = await new DoorTransport(town.door).offer();
	assert.equal(hex0x(pushKey).slice(4), town.pushKey.slice(4, 68));
	assert.deepEqual(nodeKey, nodeKeyOf(town.enode));
	assert.ok(applicationServerKey(providerInfo(offer, 'webpush')!));
	assert.equal(providerInfo(offer, 'direct'), '');
});

test('a device is woken by a push, fetches, and reads its history', async () => {
	const abort = new AbortController();
	const phone = await open();
	const subscription = await town.subscribe();
	const pushes = town.pushes(subscription, abort.signal);
	const keys = subscription.keys.map((k) => new Uint8Array(Buffer.from(k, 'base64')));
	await phone.register({ routes: [{ provider: 'webpush', address: utf8(subscription.address), keys }] });
	assert.equal((await phone.receive((await pushes.next()).value as string)).kind, PayloadKind.challenge);
	assert.ok(await phone.active());

	const friend = await open('friend');
	await write(friend, 'Dinner is at seven.');
	const event = await phone.receive((await pushes.next()).value as string);
	assert.equal(event.error, undefined);
	assert.deepEqual(event.previews.map((p) => p.text), ['Dinner is at seven.']);
	await phone.shown(event.previews.map((p) => p.hash));

	await write(friend, 'Bring bread.');
	const missed = await phone.history();
	assert.equal(missed.error, undefined);
	assert.deepEqual(missed.previews.map((p) => p.text), ['Bring bread.']);
	await phone.shown(missed.previews.map((p) => p.hash));
	abort.abort();
	phone.close();
	friend.close();
});

test('a device that is online is rung over its stream, also after the node was away', async () => {
	const phone = await open();
	await phone.register({ routes: [phone.directRoute()] });
	assert.ok(await phone.active());
	const shown: string[] = [];
	let heard = (): void => undefined;
	const next = (): Promise<void> => new Promise((resolve) => (heard = resolve));
	const listening = phone.listen(async (body) => {
		const event = await phone.receive(body);
		assert.equal(event.error, undefined);
		shown.push(...event.previews.map((p) => p.text));
		await phone.shown(event.previews.map((p) => p.hash));
		if (event.previews.length > 0) {
			heard();
		}
	});
	const friend = await open('friend');
	for (const text of ['one', 'two']) {
		const rung = next();
		await write(friend, text);
		await rung;
	}
	await town.down();
	await town.up();
	const rung = next();
	await write(friend, 'three');
	await rung;
	assert.deepEqual(shown, ['one', 'two', 'three']);
	await phone.unregister();
	phone.close();
	friend.close();
	await assert.rejects(listening, (error) => error instanceof DeviceError && error.code === 'closed');
});

test('an honest server\'s ledger has what its archive has, and convicts it of nothing', async () => {
	const doubts: number[] = [];
	let kept: LedgerState | undefined;
	class Watched extends MemoryStore {
		override update(name: string, change: (held: unknown) => unknown): Promise<void> {
			return super.update(name, (held) => {
				const next = change(held);
				const ledger = (next as State | undefined)?.ledger;
				if (ledger) {
					kept = structuredClone(ledger);
					doubts.push(ledger.doubts.length);
				}
				return next;
			});
		}
	}
	const { pushKey, enode, door } = town;
	const phone = await Device.open({ pushKey, transport: new DoorTransport(door), store: new Watched(), chats: [chat], mail: { nodeKey: nodeKeyOf(enode) } });
	await phone.register({ routes: [phone.directRoute()] });
	await phone.status();
	const friend = await open('friend');
	const hashes: string[] = [];
	for (const text of ['owed', 'owed too']) {
		hashes.push(await write(friend, text));
		const event = await phone.history();
		assert.equal(event.error, undefined);
		assert.ok(event.previews.some((p) => p.text === text));
		await phone.shown(event.previews.map((p) => p.hash));
		await phone.status();
	}
	assert.ok(kept && kept.heads.length > 0 && newestOf(kept).count >= 2n);
	assert.ok(Math.max(...doubts) > 0, 'what the history brought was held against the ledger');
	assert.equal(kept.doubts.length, 0);
	assert.equal(kept.topics.length, 1);
	assert.deepEqual([await phone.evidence(), await phone.unproved()], [undefined, 0]);
	const told = kept.hashes.map(hex0x);
	assert.ok(kept.base !== undefined || hashes.every((h) => told.includes(h)));
	await phone.unregister();
	phone.close();
	friend.close();
});

test('a device that is not registered is told so when it listens', async () => {
	const phone = await open();
	await assert.rejects(phone.listen(() => undefined), (error) => isRefused(error, Code.notRegistered));
	phone.close();
});

test('what the network does not take is refused in words', async () => {
	const phone = await open();
	const old = { ...chat, payload: utf8('late'), now: new Date(Date.now() - 3600_000) };
	await assert.rejects(phone.send(old), /does not take the message: .*expired/);
	phone.close();
});
