import { hex0x, random, readBigEndian } from '../bytes.js';
import { type Chat, chatId, openWith, type Preview } from '../device/chat.js';
import { type Device } from '../device/device.js';
import { type DeviceEvent } from '../device/delivery.js';
import { type PrivateKey, publicKeyOf } from '../whisper/keys.js';
import { Attention, decide, type Facts, Manner } from './decide.js';
import { type Journal, type Written } from './journal.js';
import { maxKeptPayload, unopenedAge } from './limits.js';
import { messageLink } from './link.js';
import { actionMark, type Entry, isUnread, type KeptEnvelope, Model } from './model.js';
import { Display, type InboxRecord, markOf, type Stamp, stampName } from './records.js';
import { heardSync } from './sync.js';

/** What an inbox needs of a device, which must have been opened with `complete`: one at a mailserver, or a `Several`. */
export type InboxDevice = Pick<Device, 'receive' | 'history' | 'fetch' | 'shown' | 'seen' | 'post' | 'chats' | 'setChats' | 'doubt' | 'readElsewhere'>;

/**
 * What the app does for an inbox: the platform's notifications. Its methods are called one at a
 * time, and must not wait for the inbox. One that rejects is called again at the next occasion.
 */
export interface InboxApp {
	/** Puts a notification in the place of the one with the same id, if there is one. It resolves when the platform has it: then the message counts as shown. */
	show(n: InboxNotification): Promise<void> | void;
	/** Takes a notification away, and resolves too if there is none. */
	remove(id: string): Promise<void> | void;
	/** Sets the number on the app's icon. */
	setBadge?(n: number): Promise<void> | void;
	/**
	 * Tells which notifications the platform has, where it can: then a crash in the moment of showing
	 * one shows none twice, and what an inbox that was lost has left is removed.
	 */
	displayed?(): Promise<readonly string[]>;
}

/** What is shown of a message. */
export interface InboxNotification {
	/** Of the message. */
	readonly id: string;
	readonly chat: string;
	/** Name of the chat. */
	readonly title: string;
	/** Compressed key; empty: not signed. */
	readonly sender: string;
	readonly text: string;
	readonly sent: Date;
	/** `sent` is not the sender's word. */
	readonly claimed: boolean;
	/** For the tap. */
	readonly link: string;
	/** Messages of the chat. */
	readonly unread: number;
	readonly manner: Manner;
}

export interface CoreConfig {
	readonly journal: Journal;
	readonly device: InboxDevice;
	readonly app: InboxApp;
	/** The keys that the user signs messages with, on all their devices. The first of it signs what the inbox sends. */
	readonly own?: readonly PrivateKey[];
	/**
	 * A chat that only the user's devices know the key of, and which is among the device's chats.
	 * Through it they tell each other what was read, muted and blocked. Undefined: there is none, and they
	 * learn only that notifications are to go.
	 */
	readonly sync?: Chat | undefined;
	/** Unix milliseconds, for tests and where the platform's clock may be wrong. */
	readonly now?: () => number;
}

/** How many records are written behind what a journal has before it is written anew. */
const minGarbage = 4096;
/** How many events that could not be written are kept. What is in older ones the device hands over at the next start. */
const maxMissed = 64;

/** One change of the model, which is written as a whole. */
export class Change {
	readonly model: Model;
	readonly now: number;
	readonly records: InboxRecord[] = [];

	constructor(model: Model, now: number) {
		[this.model, this.now] = [model, now];
	}

	/** Makes a record count at once, for what the change decides after it. */
	add(r: InboxRecord): void {
		this.model.apply(r);
		this.records.push(r);
	}

	/** Makes messages read here. */
	read(entries: readonly Entry[]): void {
		const hashes = entries.filter(isUnread).map((e) => e.hash);
		if (hashes.length > 0) {
			this.add({ kind: 'read', hashes, here: true });
		}
	}

	remove(entries: readonly Entry[]): void {
		this.read(entries);
		if (entries.length > 0) {
			this.add({ kind: 'gone', hashes: entries.map((e) => e.hash) });
		}
	}

	/** Notes a further envelope of a message. */
	copied(hash: string, message: string): void {
		if (this.model.message.has(markOf(message)) && !this.model.find(hash)) {
			this.add({ kind: 'copy', hash, message });
		}
	}

	/**
	 * Is for a change of a thing that was changed last at `before`: later than that, though the
	 * clock be behind, and another than that of every change which waits to be told.
	 */
	stamp(before: Stamp | undefined): Stamp {
		let s = { at: Math.max(Math.floor(this.now), (before?.at ?? 0) + 1), device: this.model.device };
		while (this.model.stamps.has(stampName(s))) {
			s = { ...s, at: s.at + 1 };
		}
		return s;
	}

	acted(id: string): boolean {
		return this.model.actions.has(actionMark(id));
	}
}

/** The model of an inbox, its journal, and what the platform shows of it. */
export class Core {
	readonly device: InboxDevice;
	readonly own: readonly PrivateKey[];
	readonly sync: Chat | undefined;
	readonly now: () => number;
	model = new Model();
	attention: Attention = Attention.background;
	visible: string | undefined;
	/** By their ids, without the sync chat. */
	chats = new Map<string, Chat>();
	/** Told that something waits for a flush. */
	kick: () => void = () => undefined;
	closed = false;
	readonly #app: InboxApp;
	readonly #journal: Journal;
	readonly #mine: ReadonlySet<string>;
	readonly #syncId: string | undefined;
	#after = 0;
	#written = 0;
	#turn: Promise<unknown> = Promise.resolve();
	/** On the icon; -1: not known. */
	#badge = -1;
	/** By the device in this run, and not acknowledged yet. */
	readonly #handed = new Set<string>();
	#missed: DeviceEvent[] = [];
	/** By the app in this run, if that could not be written. */
	readonly #shown = new Set<string>();

	constructor({ journal, device, app, own = [], sync, now = Date.now }: CoreConfig) {
		[this.#journal, this.device, this.#app, this.own, this.sync, this.now] = [journal, device, app, own, sync, now];
		this.#mine = new Set(own.map((key) => hex0x(publicKeyOf(key))));
		this.#syncId = sync && chatId(sync);
		this.takeChats(device.chats);
	}

	takeChats(chats: readonly Chat[]): void {
		this.chats = new Map(chats.map((c) => [chatId(c), c] as const).filter(([id]) => id !== this.#syncId));
	}

	/** All chats, sync included. */
	get listed(): Chat[] {
		return [...this.chats.values(), ...(this.sync ? [this.sync] : [])];
	}

	/** Calls one after the other. */
	inTurn<T>(task: () => Promise<T>): Promise<T> {
		const result = this.#turn.then(task);
		this.#turn = result.catch(() => undefined);
		return result;
	}

	/** Takes over what other tabs did, has `task` change the model, and writes that. On error nothing has changed. */
	async change<T>(task: (t: Change) => T): Promise<T> {
		if (this.closed) {
			throw new Error('the inbox is closed');
		}
		let result: T;
		let dirty = false;
		try {
			this.#after = await this.#journal.update(this.#after, (written) => {
				const t = new Change(this.model, this.now());
				this.#follow(written);
				dirty = written.length > 0;
				try {
					result = task(t);
				} finally {
					dirty ||= t.records.length > 0;
				}
				this.#written += t.records.length;
				if (this.#written > minGarbage + 2 * this.model.entries.size) {
					this.#written = 0;
					return { records: this.model.records(), inPlace: true };
				}
				return { records: t.records, inPlace: false };
			});
			return result!;
		} catch (error) {
			if (dirty) { // the model has what the journal has not
				[this.model, this.#after, this.#written] = [new Model(), 0, 0];
				const again = this.#journal.update(0, (written) => (this.#follow(written), { records: [], inPlace: false }));
				this.#after = await again.catch(() => 0);
			}
			throw error;
		}
	}

	#follow(written: readonly Written[]): void {
		written.forEach(({ record }) => this.model.apply(record));
		this.#written += written.length;
	}

	/** Changes the model, brings the platform in line, and has the rest told. */
	update(task: (t: Change) => void): Promise<void> {
		return this.inTurn(async () => {
			await this.change(task);
			await this.changed();
		});
	}

	/** Brings the platform in line after a change, and has the rest told. */
	async changed(): Promise<void> {
		this.kick();
		await this.settle();
	}

	/** Begins: takes over what the device knows and a crash kept from the journal, and what the platform has. */
	async open(): Promise<void> {
		await this.inTurn(async () => {
			await this.change((t) => {
				if (t.model.device === 0n) {
					t.add({ kind: 'device', id: readBigEndian(random(8)) | 1n });
				}
			});
			await this.#readElsewhere();
			await this.tryUnopened();
			await this.#reconcile();
			await this.settle().catch(() => undefined); // it is tried again at the next occasion
		});
	}

	// Takes over dismissals that the device kept.
	async #readElsewhere(): Promise<void> {
		const unread = [...this.model.entries.values()].filter(isUnread).flatMap((e) => [e.hash, ...e.copies]);
		const hashes = unread.length > 0 ? await this.device.readElsewhere(unread) : [];
		if (hashes.length > 0) {
			await this.change((t) => t.add({ kind: 'read', hashes, here: false }));
		}
	}

	/**
	 * Takes over what the device handed over. What cannot be written, as where the browser has no room, is
	 * taken over at the next occasion: the device hands over everything once in a run.
	 */
	take(event: DeviceEvent): Promise<void> {
		this.#missed = [...this.#missed, event].slice(-maxMissed);
		return this.catchMissed();
	}

	/** Takes over what could not be written when it came. */
	catchMissed(): Promise<void> {
		return this.inTurn(async () => {
			const events = this.#missed;
			if (events.length === 0) {
				return;
			}
			const previews = events.flatMap((e) => e.previews);
			const unopened = events.flatMap((e) => e.unopened);
			await this.change((t) => {
				// What came by whatever way was read elsewhere counts before anything is shown.
				previews.forEach((p) => this.#heard(t, p));
				t.add({ kind: 'read', hashes: events.flatMap((e) => e.dismissed), here: false });
				previews.forEach((p) => this.#came(t, p));
				for (const { raw } of unopened) {
					if (raw.length <= maxKeptPayload + 1024) {
						t.add({ kind: 'unopened', came: t.now, raw: raw.slice() });
					}
				}
				events.flatMap((e) => e.copies).forEach((c) => t.copied(c.hash, c.message));
			});
			this.#missed = this.#missed.filter((e) => !events.includes(e));
			[...previews.map((p) => p.hash), ...unopened.map((e) => hex0x(e.hash))].forEach((hash) => this.#handed.add(hash));
			if (unopened.length > 0) {
				await this.tryUnopened(); // the inbox may have a key that the device was not given yet
			}
			await this.#readElsewhere();
			await this.changed();
		});
	}

	#heard(t: Change, p: Preview): void {
		if (this.#syncId !== undefined && p.chatId === this.#syncId) {
			heardSync(p.payload, t.now)?.forEach((r) => t.add(r));
		}
	}

	// Adds a message, unless it is there or was removed.
	#came(t: Change, p: Preview): void {
		const { model } = t;
		if (p.chatId === undefined || p.chatId === this.#syncId) {
			return;
		}
		if (model.message.has(markOf(p.message))) {
			t.copied(p.hash, p.message);
			return;
		}
		if (model.gone.has(markOf(p.hash)) || model.gone.has(markOf(p.message))) {
			return;
		}
		const sender = p.sender ?? '';
		t.add({
			kind: 'message', hash: p.hash, message: p.message, chat: p.chatId, sender, text: p.text, claimed: p.claimed,
			payload: p.payload.length > maxKeptPayload ? undefined : p.payload, sent: p.sent.getTime(), came: t.now,
			own: this.#mine.has(sender) || model.sealedOf.has(p.message), read: p.read, display: Display.not, copies: [],
			known: model.isMuted(p.chatId, t.now) || model.isBlocked(sender),
		});
	}

	/** Opens what was kept, with the chats as they are now, and gives up what is too old. */
	async tryUnopened(): Promise<void> {
		const opened: [KeptEnvelope, Preview | undefined][] = [];
		for (const u of this.model.unopened) {
			opened.push([u, await openWith(this.listed, u.envelope)]);
		}
		const done = opened.filter(([u, p]) => p || this.now() - u.came > unopenedAge);
		if (done.length > 0) {
			await this.change((t) => {
				for (const [{ hash }, p] of done) {
					t.add({ kind: 'opened', hash });
					if (p) {
						this.#heard(t, p);
						this.#came(t, p);
					}
				}
			});
		}
	}

	attentionFor(chat: string): Attention {
		return this.attention === Attention.elsewhere && chat === this.visible ? Attention.watching : this.attention;
	}

	/** What decides whether a message is shown. */
	about(e: Entry, now: number): Facts {
		return {
			read: e.read, own: e.own, muted: this.model.isMuted(e.chat, now), blocked: this.model.isBlocked(e.sender), lost: !this.chats.has(e.chat), news: !e.known,
		};
	}

	unreadOf(chat: string): number {
		return this.model.of(chat).filter((e) => isUnread(e) && !this.model.isBlocked(e.sender)).length;
	}

	/** Messages that are to be seen: not read, and not muted or blocked. */
	unread(now = this.now()): number {
		return [...this.chats.keys()].reduce((sum, id) => sum + (this.model.isMuted(id, now) ? 0 : this.unreadOf(id)), 0);
	}

	notification(e: Entry, manner: Manner): InboxNotification {
		return {
			id: e.hash, chat: e.chat, title: this.chats.get(e.chat)?.name ?? '', sender: e.sender, text: e.text, sent: new Date(e.sent),
			claimed: e.claimed, link: messageLink(e.chat, e.hash), unread: this.unreadOf(e.chat), manner,
		};
	}

	/**
	 * Brings what the platform shows in line with the model, and acknowledges what is shown or will
	 * not be. Whatever fails is tried again at the next occasion, and the first of it is thrown.
	 */
	async settle(): Promise<void> {
		const { show, remove } = await this.change((t) => {
			this.#readWatched(t);
			const due = this.#due(t.now);
			const begun = due.show.filter((n) => t.model.entries.get(n.id)!.display === Display.not).map((n) => n.id);
			for (const id of due.remove) { // and may not have what could come back, as after a mute
				const e = t.model.entries.get(id);
				if (e && isUnread(e) && e.display === Display.displayed) {
					begun.push(id);
				}
			}
			if (begun.length > 0) { // the platform may have it from now on, also after a crash
				t.add({ kind: 'display', hashes: begun, state: Display.maybe });
			}
			return due;
		});
		const errors: unknown[] = [];
		const attempt = async (task: () => Promise<void> | void): Promise<boolean> => {
			try {
				await task();
				return true;
			} catch (error) {
				errors.push(error);
				return false;
			}
		};
		const removed: string[] = [];
		for (const n of show) {
			if (await attempt(() => this.#app.show(n))) {
				this.#shown.add(n.id);
			}
		}
		for (const id of remove) {
			if (await attempt(() => this.#app.remove(id))) {
				this.#shown.delete(id);
				removed.push(id);
			}
		}
		const displays = [...this.#shown]; // now, or before and it could not be written
		if (displays.length + removed.length > 0) {
			const written = await attempt(() => this.change((t) => {
				t.add({ kind: 'display', hashes: displays, state: Display.displayed });
				t.add({ kind: 'display', hashes: removed, state: Display.not });
			}));
			if (written) {
				this.#shown.clear();
			}
		}
		const n = this.unread();
		if (n !== this.#badge && (await attempt(() => this.#app.setBadge?.(n)))) {
			this.#badge = n;
		}
		await attempt(() => this.#acknowledge());
		if (errors.length > 0) {
			throw errors[0];
		}
	}

	// What the platform is to show and to remove, in the order in which it came.
	#due(now: number): { show: InboxNotification[]; remove: string[] } {
		const [show, remove]: [InboxNotification[], string[]] = [[], []];
		for (const e of this.model.entries.values()) {
			const { manner } = decide(this.attentionFor(e.chat), this.about(e, now));
			if (manner === Manner.unseen && (e.display !== Display.not || this.#shown.has(e.hash))) {
				remove.push(e.hash);
			} else if (manner !== Manner.unseen && e.display !== Display.displayed && !this.#shown.has(e.hash)) {
				show.push(this.notification(e, manner));
			}
		}
		return { show, remove: [...remove, ...this.model.ghosts] };
	}

	// Makes read what the user has before their eyes.
	#readWatched(t: Change): void {
		const { visible } = this;
		if (visible !== undefined && this.attentionFor(visible) === Attention.watching) {
			t.read(t.model.of(visible).filter((e) => decide(Attention.watching, this.about(e, t.now)).read));
		}
	}

	// Tells the device of what it handed over and need not hand over again: what is shown, and what will not be.
	async #acknowledge(): Promise<void> {
		const now = this.now();
		const done = [...this.#handed].filter((hash) => {
			const e = this.model.find(hash);
			const waits = e && e.display !== Display.displayed && !this.#shown.has(e.hash) && decide(this.attentionFor(e.chat), this.about(e, now)).manner !== Manner.unseen;
			return !waits; // else it is to be shown and was not
		});
		if (done.length > 0) {
			await this.device.shown(done);
			done.forEach((hash) => this.#handed.delete(hash));
		}
	}

	/** Forgets what the platform has: it is all shown again, quietly. */
	forgetDisplays(t: Change): void {
		this.#shown.clear();
		const hashes = [...t.model.entries.values()].filter((e) => e.display !== Display.not).map((e) => e.hash);
		t.add({ kind: 'display', hashes, state: Display.maybe });
		this.#badge = -1;
	}

	// Asks the platform what it has, if it can tell.
	async #reconcile(): Promise<void> {
		const has = await this.#app.displayed?.().catch(() => undefined);
		if (!has) {
			return;
		}
		await this.change((t) => {
			const there = new Set(has);
			const { entries, ghosts } = t.model;
			const are = has.filter((id) => entries.get(id)?.display !== Display.displayed && !ghosts.has(id));
			const not = [...entries.values()].filter((e) => e.display === Display.maybe && !there.has(e.hash)).map((e) => e.hash); // the crash came before
			t.add({ kind: 'display', hashes: are, state: Display.displayed });
			t.add({ kind: 'display', hashes: not, state: Display.not });
		});
	}
}

