// The histories of an inbox of web/vectors, as web/vectors/inbox_test.go has them.
import { fromHex, hex0x, utf8 } from '../src/bytes.js';
import { printable } from '../src/device/chat.js';
import { type Chat, chatId, type DeviceEvent, type Preview } from '../src/device/index.js';
import { type Action, type ActionKind, Attention, Inbox, type InboxApp, type InboxDevice, MemoryJournal, messageLink } from '../src/inbox/index.js';
import { encodeSync } from '../src/inbox/sync.js';
import { PayloadKind } from '../src/push/index.js';
import { Envelope, publicKeyOf, sealedName } from '../src/whisper/index.js';
import { filled, plain } from './support.js';

export interface ChatVector {
	name: string;
	topic: string;
	key?: string;
	identity?: string;
	id: string;
}

interface PreviewVector {
	chat: string;
	sender?: string;
	payload: string;
	sent: number;
	claimed?: boolean;
	hash: string;
	message: string;
	read?: boolean;
}

interface Step {
	event?: { previews?: PreviewVector[]; dismissed?: string[]; unopened?: string[]; copies?: { Hash: string; Message: string }[] };
	attend?: number;
	open?: string;
	read?: string[];
	readChat?: string;
	sent?: string[];
	delete?: string[];
	deleteChat?: string;
	mute?: string;
	until?: number;
	block?: string;
	unblock?: string;
	chats?: ChatVector[];
	action?: { id: string; kind: string; message: string; text?: string; until?: number };
	reshow?: boolean;
	refresh?: boolean;
	flush?: boolean;
	reopen?: boolean;
	broken?: boolean;
	link?: string;
	want: Record<string, unknown>;
}

export interface History {
	name: string;
	chats: ChatVector[];
	own: string;
	sync?: ChatVector;
	steps: Step[];
}

export const chatOf = ({ name, topic, key, identity }: ChatVector): Chat => ({
	name, topic: fromHex(topic), ...(key ? { key: fromHex(key) } : {}), ...(identity ? { identity: fromHex(identity) } : {}),
});

const date = (seconds = 0): Date | undefined => (seconds === 0 ? undefined : new Date(seconds * 1000));

/** Does all steps, and says what came of them. */
export async function run(history: History, journal = new MemoryJournal()): Promise<unknown[]> {
	let want: Record<string, unknown> = {};
	let next = eventOf({});
	let broken = false;
	let chats = history.chats.map(chatOf);
	const sync = history.sync && chatOf(history.sync);
	const note = (name: string, values: readonly unknown[], sorted = false): void => {
		const all = [...((want[name] as unknown[] | undefined) ?? []), ...values];
		want[name] = sorted ? (all as string[]).sort() : all;
	};
	const device: InboxDevice = {
		get chats() {
			return sync ? [...chats, sync] : chats;
		},
		receive: () => Promise.reject(new Error('unused')),
		fetch: () => Promise.reject(new Error('unused')),
		history: async () => {
			const event = next;
			next = eventOf({});
			return event;
		},
		shown: async (hashes) => note('has', hashes, true),
		seen: async (hashes) => note('seen', hashes),
		post: async (sealed) => {
			want['posted'] = ((want['posted'] as number | undefined) ?? 0) + 1;
			return hex0x(sealedName(sealed));
		},
		readElsewhere: async () => [],
		setChats: async (all) => void (want['muted'] = all.filter((c) => c.mutedUntil).map((c) => chatId(c))),
		doubt: () => undefined,
	};
	const app: InboxApp = {
		show: ({ id, manner, title, text, link, unread }) => {
			if (broken) {
				throw new Error('the platform is broken');
			}
			note('shown', [{ id, manner, title, text, link, unread }]);
		},
		remove: (id) => note('removed', [id], true),
		setBadge: (n) => void (want['badge'] = n),
	};
	const open = (): Promise<Inbox> => Inbox.open({ journal, device, app, own: [fromHex(history.own)], sync });
	let inbox = await open();
	const step = async (s: Step): Promise<void> => {
		if (s.event) {
			next = eventOf(s.event);
			await inbox.history();
		} else if (s.attend !== undefined) {
			await inbox.attend(s.attend as typeof Attention.screenOff);
		} else if (s.open !== undefined) {
			await inbox.chatOpened(s.open || undefined);
		} else if (s.read) {
			await inbox.read(s.read);
		} else if (s.readChat) {
			await inbox.readChat(s.readChat);
		} else if (s.sent) {
			await inbox.sent(s.sent);
		} else if (s.delete) {
			await inbox.delete(s.delete);
		} else if (s.deleteChat) {
			await inbox.deleteChat(s.deleteChat);
		} else if (s.mute) {
			await inbox.mute(s.mute, date(s.until));
		} else if (s.block) {
			await inbox.block(s.block);
		} else if (s.unblock) {
			await inbox.unblock(s.unblock);
		} else if (s.chats) {
			chats = s.chats.map(chatOf);
			await inbox.setChats(chats);
		} else if (s.action) {
			const { until, kind, ...action } = s.action;
			await inbox.do({ ...action, kind: kind as ActionKind, ...(until ? { until: date(until) } : {}) } as Action);
		} else if (s.reshow) {
			await inbox.reshow();
		} else if (s.refresh) {
			await inbox.refresh();
		} else if (s.flush) {
			await inbox.flush();
		} else if (s.broken !== undefined) {
			({ broken } = s);
		} else if (s.link) {
			const { chat, message } = inbox.resolve(s.link);
			want['target'] = chat + (message ? '/' + message.hash : '');
		} else {
			throw new Error('a step that does nothing');
		}
	};
	const all: unknown[] = [];
	for (const s of history.steps) {
		want = {};
		if (s.reopen) {
			inbox.close();
			inbox = await open();
		} else {
			await step(s).catch((error: unknown) => (want['error'] = ['LinkError', 'InboxError'].includes((error as Error).name) ? (error as { code: string }).code : 'other'));
		}
		const lists = inbox.chats.map((c) => [c.id, inbox.messages(c.id)] as const).filter(([, messages]) => messages.length > 0);
		const is = (o: Record<string, unknown>): unknown => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== false && v !== ''));
		const messages = Object.fromEntries(lists.map(([id, m]) => [id, m.map(({ hash, sender, read, own, blocked, shown }) => is({ hash, sender, read, own, blocked, shown }))]));
		const { unopened, never, all: came, evicted } = inbox.counts;
		all.push({
			...want, unread: inbox.unread, messages, counts: [unopened, never, came, evicted],
			chats: inbox.chats.map((c) => is({ id: c.id, messages: c.messages, unread: c.unread, muted: c.mutedUntil !== undefined })),
			...(inbox.outgoing.length > 0 ? { outgoing: inbox.outgoing.length } : {}), ...(inbox.failures.length > 0 ? { failures: inbox.failures.length } : {}),
		});
	}
	inbox.close();
	return all;
}

function eventOf({ previews = [], dismissed = [], unopened = [], copies = [] }: NonNullable<Step['event']>): DeviceEvent {
	return {
		kind: PayloadKind.messages, seq: 0n, missing: [], gap: false, more: false, error: undefined, dismissed, unopened: unopened.map((raw) => Envelope.decode(fromHex(raw))),
		copies: copies.map((c) => ({ hash: c.Hash, message: c.Message })),
		previews: previews.map((p): Preview => ({
			chat: '', topic: p.chat.slice(0, 10), chatId: p.chat, sender: p.sender, payload: fromHex(p.payload), text: printable(fromHex(p.payload)), sent: new Date(p.sent),
			claimed: p.claimed ?? false, profile: undefined, hash: p.hash, message: p.message, read: p.read ?? false, link: messageLink(p.chat, p.hash),
		})),
	};
}

// What the user's other devices are told, as this package writes it.
export async function inboxVectors(): Promise<unknown> {
	const chat = (name: string, topic: number, key: number): ChatVector => {
		const c = { name, topic: filled(4, topic), key: filled(32, key) };
		return { name, topic: hex0x(c.topic), key: hex0x(c.key), id: chatId(c) };
	};
	const [family, work, sync] = [chat('family', 0x11, 1), chat('work', 0x22, 2), chat('my devices', 0x33, 4)];
	const eve = hex0x(publicKeyOf(filled(32, 8)));
	const name = (kind: number, n: number): string => hex0x(filled(32, kind + n));
	const came = (c: ChatVector, n: number, sender?: string): PreviewVector => ({
		chat: c.id, payload: hex0x(utf8(`message ${n}`)), sent: 1_700_000_000_000 + n, hash: name(0x40, n), message: name(0x80, n), ...(sender ? { sender } : {}),
	});
	const told = (n: number, payload: Uint8Array): Step => ({ event: { previews: [{ ...came(sync, n), payload: hex0x(payload) }] }, want: {} });
	const stamp = { at: 1_700_000_000_000, device: (1n << 64n) - 1n };
	const history: History = {
		name: 'what another device tells', chats: [family, work], own: hex0x(filled(32, 9)), sync,
		steps: [
			{ event: { previews: [came(family, 1), came(family, 2, eve), came(work, 3)] }, want: {} },
			told(20, encodeSync([name(0x80, 1).slice(0, 18), name(0x80, 4).slice(0, 18)], [])),
			{ event: { previews: [came(work, 4)] }, want: {} },
			told(21, encodeSync([], [{ kind: 'block', sender: eve, on: true, stamp, here: true }, { kind: 'mute', chat: work.id, until: 4_102_444_800, stamp, here: true }])),
			told(22, encodeSync([], [{ kind: 'block', sender: eve, on: false, stamp: { ...stamp, at: stamp.at + 1 }, here: true }, { kind: 'mute', chat: work.id, until: 0, stamp: { ...stamp, at: stamp.at - 1 }, here: true }])),
			{ flush: true, want: {} },
		],
	};
	const wants = await run(history);
	return plain({ histories: [{ ...history, steps: history.steps.map((s, i) => ({ ...s, want: wants[i] })) }] });
}
