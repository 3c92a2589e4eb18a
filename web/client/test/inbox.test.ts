// An inbox on a device, its journal shared by tabs, and what strangers may tell it.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, hex, hex0x, utf8 } from '../src/bytes.js';
import { type Chat, chatId, type DeviceConfig } from '../src/device/index.js';
import { Attention, formatLink, Inbox, type InboxApp, InboxError, type InboxRecord, IndexedDbJournal, type Journal, LinkError, Manner, MemoryJournal, parseLink } from '../src/inbox/index.js';
import { maxOutgoing, maxTopicUnopened } from '../src/inbox/limits.js';
import { Model } from '../src/inbox/model.js';
import { decodeSync, encodeSync } from '../src/inbox/sync.js';
import { emptyPayload, PayloadKind } from '../src/push/index.js';
import { openSymmetric, publicKeyOf, seal, topicFor } from '../src/whisper/index.js';
import { runs, spoiled } from './fuzz-support.js';
import { family, work, World } from './device-support.js';
import { failure, filled } from './support.js';

const me = filled(32, 9);
const devices: Chat = { name: 'my devices', topic: topicFor('my devices'), key: filled(32, 4) };

/** The platform: what it shows now, by its manner. */
class Screen implements InboxApp {
	readonly shown = new Map<string, string>();
	badge = 0;
	show = ({ id, text, manner }: Parameters<InboxApp['show']>[0]): void => void this.shown.set(id, `${text} ${manner}`);
	remove = (id: string): void => void this.shown.delete(id);
	setBadge = (n: number): void => void (this.badge = n);
	get all(): string[] {
		return [...this.shown.values()];
	}
}

async function opened(world: World, config: Partial<DeviceConfig> & { journal?: Journal; sync?: Chat; tab?: boolean; screen?: Screen } = {}) {
	const { journal = new MemoryJournal(), sync, tab, screen = new Screen(), ...more } = config;
	const device = await (tab ? world.open.bind(world) : world.registered.bind(world))({ complete: true, chats: [family, work, ...(sync ? [sync] : [])], ...more });
	const inbox = await Inbox.open({ device, app: screen, journal, own: [me], sync, now: () => world.clock.time });
	return { device, screen, inbox };
}

test('a push is shown as the user is looking, and the server is told what was read', async () => {
	const world = new World();
	const { inbox, screen } = await opened(world);
	const one = await world.written('one');
	await inbox.receive(world.server.pushes.pop()!);
	assert.deepEqual(screen.all, [`one ${Manner.headsUp}`]);
	assert.deepEqual([inbox.unread, screen.badge], [1, 1]);
	const id = chatId(family);
	assert.deepEqual(inbox.chats.map((c) => [c.name, c.messages, c.unread]), [['family', 1, 1], ['work', 0, 0]]);
	await inbox.chatOpened(id);
	await inbox.attend(Attention.elsewhere);
	assert.deepEqual([screen.all, inbox.unread, screen.badge], [[], 0, 0]);
	await inbox.flush();
	const [account] = world.server.accounts.values();
	assert.ok(account!.seen.includes(hex(one.hash)));
	await world.written('two', work);
	await inbox.receive(world.server.pushes.pop()!);
	assert.deepEqual(screen.all, [`two ${Manner.banner}`]);
	await inbox.history();
	assert.equal(inbox.messages(id).length, 1, 'nothing comes twice');
});

test('an answer in the notification goes out once, signed, and is ours', async () => {
	const world = new World();
	const { inbox, screen } = await opened(world);
	const asked = await world.written('coming?', family, { sign: filled(32, 7) });
	await inbox.receive(world.server.pushes.pop()!);
	const action = { id: 'tap', kind: 'reply', message: hex0x(asked.hash), text: 'yes' } as const;
	await Promise.all([inbox.do(action), inbox.do(action)]);
	assert.equal(inbox.outgoing.length, 1);
	assert.deepEqual(screen.all, []);
	await Promise.all([inbox.flush(), inbox.flush()]);
	assert.equal(world.server.posted.length, 1);
	const said = await openSymmetric(world.server.posted[0]!, family.key!);
	assert.equal(hex(said.signer!), hex(publicKeyOf(me)));
	assert.deepEqual(inbox.messages(chatId(family)).map((m) => [m.text, m.own, m.read]), [['coming?', false, true], ['yes', true, true]]);
	await world.server.deliver(world.server.posted[0]!);
	await inbox.history();
	assert.equal(inbox.messages(chatId(family)).length, 2, 'it comes back as ours');
	for (let i = 0; i < maxOutgoing; i++) {
		await inbox.send(chatId(work), utf8(`${i}`));
	}
	await assert.rejects(inbox.send(chatId(work), utf8('more')), (e: unknown) => e instanceof InboxError && e.code === 'full');
	await inbox.setChats([family]);
	await inbox.flush();
	assert.equal(inbox.failures.length, 64, 'the newest that can never be sent');
});

test('what no chat opens is kept, and shown when its key comes; a flood of it has a limit', async () => {
	const world = new World();
	const { inbox, screen } = await opened(world);
	const later: Chat = { ...family, name: 'later', key: filled(32, 77) };
	for (let i = 0; i < 3; i++) {
		await world.written(`later ${i}`, later);
	}
	await inbox.receive(world.server.pushes.pop()!);
	await inbox.history();
	assert.deepEqual([screen.all, inbox.counts.unopened, inbox.counts.all], [[], 3, 3]);
	await inbox.setChats([family, work, later]);
	assert.equal(screen.all.length, 3);
	assert.equal(inbox.counts.unopened, 0);
	await inbox.flush();
	const model = new Model();
	for (let i = 0; i < 2 * maxTopicUnopened; i++) {
		const e = await seal({ payload: utf8(`${i}`), topic: family.topic, key: filled(32, 78), now: new Date(world.clock.time) });
		model.apply({ kind: 'unopened', came: 1, raw: e.raw });
	}
	assert.deepEqual([model.unopened.length, model.counts.dropped], [maxTopicUnopened, maxTopicUnopened]);
	model.apply({ kind: 'unopened', came: 1, raw: filled(40, 0xc1) });
	assert.equal(model.unopened.length, maxTopicUnopened);
});

test('a link leads to a message that the mailserver still has', async () => {
	const world = new World();
	const { inbox } = await opened(world);
	const old = await world.written('old');
	const strange = await world.written('strange', { ...family, key: filled(32, 70) });
	world.server.pushes.length = 0;
	const { message, chat } = await inbox.follow(`whisper:${hex0x(family.topic)}/${hex0x(old.hash)}`);
	assert.deepEqual([message?.text, chat], ['old', chatId(family)]);
	await assert.rejects(inbox.follow(`whisper:${hex0x(strange.hash)}`), (e: unknown) => e instanceof LinkError && e.code === 'foreign');
	await assert.rejects(inbox.follow(`whisper:0x${'ab'.repeat(32)}`), (e: unknown) => e instanceof LinkError && e.code === 'unknown');
});

test('two devices of one user tell each other what was read, muted and blocked', async () => {
	const world = new World();
	const [a, b] = [await opened(world, { sync: devices }), await opened(world, { sync: devices, store: undefined })];
	await world.written('hello', family, { sign: filled(32, 7) });
	for (const { inbox, screen } of [a, b]) {
		await inbox.history();
		assert.equal(screen.all.length, 1);
	}
	await a.inbox.readChat(chatId(family));
	await a.inbox.mute(chatId(work), new Date(world.clock.time + 3600_000));
	await a.inbox.block(publicKeyOf(filled(32, 7)));
	await a.inbox.flush();
	for (const e of world.server.posted.splice(0)) {
		await world.server.deliver(e);
	}
	await b.inbox.history();
	assert.deepEqual(b.screen.all, []);
	assert.ok(b.inbox.chats.find((c) => c.name === 'work')?.mutedUntil);
	assert.ok(b.inbox.messages(chatId(family))[0]!.blocked);
	await b.inbox.flush();
	assert.equal(world.server.posted.length, 0, 'what was heard is not said again');
});

test('what was read on another device, by a dismissal before it comes, is there and not shown', async () => {
	const world = new World();
	const { inbox, screen, device } = await opened(world);
	const early = await seal({ payload: utf8('early'), topic: family.topic, key: family.key, now: new Date(world.clock.time) });
	const dismissal = { ...emptyPayload, kind: PayloadKind.dismiss, hashes: [early.hash] };
	await world.server.push(world.server.only(), dismissal);
	await inbox.receive(world.server.pushes.pop()!);
	assert.deepEqual(await device.readElsewhere([hex0x(early.hash), `0x${'00'.repeat(32)}`]), [hex0x(early.hash)]);
	await world.server.deliver(early);
	await inbox.history();
	assert.deepEqual(inbox.messages(chatId(family)).map((m) => [m.text, m.read, m.shown]), [['early', true, false]]);
	const late = await world.written('late');
	await inbox.history();
	assert.deepEqual(screen.all, [`late ${Manner.headsUp}`]);
	await world.server.push(world.server.only(), { ...dismissal, hashes: [late.hash] });
	await inbox.receive(world.server.pushes.pop()!);
	assert.deepEqual([screen.all, inbox.unread], [[], 0]);
});

test('tabs share a journal in IndexedDB; one that cannot write loses nothing', async () => {
	const world = new World();
	const name = `inbox ${Math.random()}`;
	let full = false;
	class Tab extends IndexedDbJournal {
		override update: Journal['update'] = (after, change) =>
			full ? Promise.reject(new Error('no room')) : super.update(after, change);
	}
	const screen = new Screen(); // the browser's
	const [one, two] = [await opened(world, { journal: new Tab(name), screen }), await opened(world, { journal: new IndexedDbJournal(name), tab: true, screen })];
	await world.written('first');
	await one.inbox.receive(world.server.pushes.pop()!);
	await two.inbox.refresh();
	assert.equal(two.inbox.unread, 1);
	assert.deepEqual(screen.all, [`first ${Manner.headsUp}`], 'it is shown by one of them');
	await two.inbox.readChat(chatId(family));
	await one.inbox.refresh();
	assert.deepEqual([one.inbox.unread, screen.all], [0, []]);
	await world.written('second');
	full = true;
	await assert.rejects(one.inbox.history(), /no room/);
	full = false;
	await one.inbox.history();
	assert.deepEqual(screen.all, [`second ${Manner.headsUp}`]);
	for (let i = 0; i < 5000; i += 2) { // more than is kept before it is written anew
		await one.inbox.mute(chatId(work), i % 4 === 0 ? new Date(world.clock.time + 1000 + i) : undefined);
	}
	await two.inbox.refresh();
	assert.deepEqual([two.inbox.unread, two.inbox.messages(chatId(family)).length], [1, 2]);
	let records = 0;
	await new IndexedDbJournal(name).update(0, (written) => ((records = written.length), { records: [] as InboxRecord[], inPlace: false }));
	assert.ok(records < 4500, `${records} records`);
});

test('fuzz: links', () => {
	const good = [`whisper:0x5a4ea131.0011223344556677/0x${'ab'.repeat(32)}`, `WHISPER:0x${'AB'.repeat(32)}`, 'whisper:0x5a4ea131'].map(utf8);
	let taken = 0;
	fc.assert(fc.property(fc.oneof(spoiled(...good).map((b) => new TextDecoder().decode(b)), fc.string()), (text) => {
		try {
			const link = parseLink(text);
			taken++;
			assert.deepEqual(parseLink(formatLink(link)), link);
			assert.equal(formatLink(link), text.toLowerCase().replace('\u017f', 's'));
		} catch (error) {
			assert.ok(error instanceof LinkError && error.message.length < 200, String(error));
		}
	}), runs);
	assert.ok(taken > 0);
});

test('fuzz: what the user\'s other devices tell', () => {
	const [sender, stamp] = [hex0x(publicKeyOf(me)), { at: 1_700_000_000_000, device: 3n }];
	const good = encodeSync(['0x0011223344556677'], [
		{ kind: 'mute', chat: '0x5a4ea131.0011223344556677', until: 5, stamp, here: true }, { kind: 'block', sender, on: true, stamp, here: true },
	]);
	assert.equal(decodeSync(good, Date.now()).length, 3);
	let taken = 0;
	fc.assert(fc.property(spoiled(good), (bytes) => {
		if (failure(() => decodeSync(bytes, 1_700_000_000_000)) === undefined) {
			taken++;
			const model = new Model();
			decodeSync(bytes, 1_700_000_000_000).forEach((r) => model.apply(r));
			assert.ok(model.mutes.size <= 64 && model.blocks.size <= 64);
			assert.deepEqual(model.records().length, new Set(model.records()).size);
		}
	}), runs);
	assert.ok(taken > 0);
	assert.equal(decodeSync(fromHex('0xc601c0c0c0' + 'c0c0'), 0).length, 0, 'it may grow at its end');
});
