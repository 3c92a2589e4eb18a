import { keccak_256 } from '@noble/hashes/sha3.js';
import { equal, hex0x, utf8 } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { Envelope } from '../whisper/envelope.js';
import { type Sealed, sealedName } from '../whisper/seal.js';
import {
	maxActions, maxBytes, maxChatMessages, maxCopies, maxEarly, maxFailures, maxGone, maxMessages, maxOutgoing, maxRegisters, maxTell, maxTopicUnopened, maxUnopened,
	maxUnopenedBytes,
} from './limits.js';
import { Marks } from './marks.js';
import { type BlockRecord, Display, type DraftRecord, type InboxRecord, isAfter, markOf, type MarkSet, type MessageRecord, type MuteRecord, type Stamp, stampName } from './records.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** A message as the model keeps it. */
export type Entry = Writable<Omit<MessageRecord, 'kind' | 'copies'>> & { copies: string[] };

export const isUnread = (e: Pick<Entry, 'read' | 'own'>): boolean => !e.read && !e.own;

interface Register {
	readonly stamp: Stamp;
	/** Of a mute, Unix seconds. */
	readonly until: number;
	/** Of a block. */
	readonly on: boolean;
}

/** An envelope that waits for its key. */
export interface KeptEnvelope {
	readonly came: number;
	readonly envelope: Envelope;
	readonly hash: string;
}

/** A message that is to be sent. */
export interface Draft extends DraftRecord {
	sealed?: Sealed;
}

/** A message that will never be sent. */
export interface Failure {
	readonly id: string;
	readonly chat: string;
	readonly payload: Uint8Array;
	readonly reason: string;
}

/** The mark of an action's id. */
export const actionMark = (id: string): string => markOf(hex0x(keccak_256(utf8(id))));

/** What the records of a journal amount to. It is the same in every tab that read the same records. */
export class Model {
	device = 0n;
	/** By the hash of the first envelope, in the order in which they came. */
	readonly entries = new Map<string, Entry>();
	/** By the mark of the message. */
	readonly message = new Map<string, Entry>();
	/** By the hash of further envelopes. */
	readonly copies = new Map<string, Entry>();
	readonly chats = new Map<string, Set<Entry>>();
	bytes = 0;
	/** Hashes and messages that were removed. */
	readonly gone = new Marks(maxGone);
	/** Hashes and messages that were read before they came. */
	readonly early = new Marks(maxEarly);
	/** Notifications of messages that were removed. */
	readonly ghosts = new Set<string>();
	readonly mutes = new Map<string, Register>();
	readonly blocks = new Map<string, Register>();
	/** Oldest first. */
	unopened: KeptEnvelope[] = [];
	held = 0;
	/** What was read here, for the server: hashes by their marks. */
	readonly telling = new Map<string, string>();
	/** Messages that were read here, for the other devices. */
	readonly sync = new Marks(maxTell);
	/** Mutes and blocks that the other devices are to be told of. */
	readonly stamps = new Map<string, MuteRecord | BlockRecord>();
	readonly drafts = new Map<string, Draft>();
	readonly actions = new Marks(maxActions);
	failures: Failure[] = [];
	/** The server is to be told of the modes of the chats. */
	channels = false;
	readonly counts = { unopened: 0, dropped: 0, evicted: 0 };
	/** A mute was ended, and nobody was woken for what came. */
	behind = false;
	/** Messages that were sealed here. */
	readonly sealedOf = new Set<string>();

	/** The message of an envelope; undefined: there is none. */
	find(hash: string): Entry | undefined {
		return this.entries.get(hash) ?? this.copies.get(hash);
	}

	findAll(hashes: readonly string[]): Entry[] {
		return hashes.map((hash) => this.find(hash)).filter((e) => e !== undefined);
	}

	/** The messages of a chat, in the order in which they came. */
	of(chat: string): Entry[] {
		return [...(this.chats.get(chat) ?? [])];
	}

	/** Whether a chat is muted at a time, Unix milliseconds. */
	isMuted(chat: string, now: number): boolean {
		return (this.mutes.get(chat)?.until ?? 0) > Math.floor(now / 1000);
	}

	isBlocked(sender: string): boolean {
		return sender !== '' && (this.blocks.get(sender)?.on ?? false);
	}

	/** Has a record count. */
	apply(r: InboxRecord): void {
		switch (r.kind) {
			case 'begin':
				Object.assign(this, new Model());
				break;
			case 'device':
				this.device = r.id;
				break;
			case 'message':
				this.#add(r);
				break;
			case 'copy':
				this.#copy(r.hash, r.message);
				break;
			case 'read':
				r.hashes.forEach((hash) => this.#read(hash, r.here));
				break;
			case 'readMessages':
				r.marks.forEach((mark) => this.#readMessage(mark));
				break;
			case 'gone':
				this.findAll(r.hashes).forEach((e) => this.#remove(e));
				break;
			case 'display':
				r.hashes.forEach((hash) => this.#display(hash, r.state));
				break;
			case 'mute':
				this.#mute(r);
				break;
			case 'block':
				this.#block(r);
				break;
			case 'told':
				r.hashes.forEach((hash) => this.telling.delete(markOf(hash)));
				break;
			case 'synced':
				r.marks.forEach((mark) => this.sync.drop(mark));
				r.stamps.forEach((s) => this.stamps.delete(stampName(s)));
				break;
			case 'unopened':
				this.#keep(r.came, r.raw);
				break;
			case 'opened':
				this.#take((u) => u.hash === r.hash);
				break;
			case 'action':
				this.actions.add(actionMark(r.id));
				break;
			case 'draft':
				if (!this.drafts.has(r.id) && this.drafts.size < maxOutgoing) {
					this.drafts.set(r.id, { ...r });
				}
				break;
			case 'sealed':
				this.#sealed(r.id, r.sealed);
				break;
			case 'posted':
				this.#posted(r.id, r.failure);
				break;
			case 'owed':
				r.hashes.forEach((hash) => this.#tell(hash));
				break;
			case 'channels':
				this.channels = !r.told;
				break;
			case 'marks':
				r.marks.forEach((mark) => this.#set(r.set).add(mark));
				break;
			case 'counts':
				Object.assign(this.counts, { unopened: r.unopened, dropped: r.dropped, evicted: r.evicted });
				break;
		}
	}

	#set(which: MarkSet): Marks {
		return { gone: this.gone, early: this.early, actions: this.actions, sync: this.sync }[which];
	}

	#add(r: MessageRecord): void {
		const [hash, message] = [markOf(r.hash), markOf(r.message)];
		if (this.find(r.hash) || this.message.has(message) || this.gone.has(hash) || this.gone.has(message)) {
			return;
		}
		const { kind: _, ...fields } = r;
		const e: Entry = { ...fields, copies: r.copies.slice(0, maxCopies) };
		this.entries.set(e.hash, e);
		this.message.set(message, e);
		e.copies.forEach((copy) => this.copies.set(copy, e));
		if (this.early.has(hash) || this.early.has(message)) {
			this.early.drop(hash);
			this.early.drop(message);
			e.read = true;
		}
		const chat = this.chats.get(e.chat) ?? new Set();
		this.chats.set(e.chat, chat.add(e));
		this.bytes += e.payload?.length ?? 0;
		if (chat.size > maxChatMessages) {
			this.#evict(chat);
		}
		while (this.entries.size > maxMessages || this.bytes > maxBytes) {
			this.#evict(this.entries.values());
		}
	}

	// Removes the oldest message that was read, or else the oldest.
	#evict(from: Iterable<Entry>): void {
		let oldest: Entry | undefined;
		for (const e of from) {
			if (!isUnread(e)) {
				oldest = e;
				break;
			}
			oldest ??= e;
		}
		if (oldest) {
			this.#remove(oldest);
		}
		this.counts.evicted++;
	}

	// Takes a message out, and keeps in mind that its notification is to go.
	#remove(e: Entry): void {
		if (this.entries.get(e.hash) !== e) {
			return;
		}
		this.entries.delete(e.hash);
		this.message.delete(markOf(e.message));
		e.copies.forEach((copy) => this.copies.delete(copy));
		const chat = this.chats.get(e.chat)!;
		chat.delete(e);
		if (chat.size === 0) {
			this.chats.delete(e.chat);
		}
		this.bytes -= e.payload?.length ?? 0;
		if (e.display !== Display.not) {
			this.ghosts.add(e.hash);
		}
		this.gone.add(markOf(e.hash));
		this.gone.add(markOf(e.message));
	}

	#copy(hash: string, message: string): void {
		const e = this.message.get(markOf(message));
		if (!e || this.find(hash) || e.copies.length === maxCopies) {
			return;
		}
		e.copies.push(hash);
		this.copies.set(hash, e);
		if (this.early.has(markOf(hash))) {
			this.early.drop(markOf(hash));
			e.read = true;
		}
		if (e.read || e.own) {
			this.#tell(hash);
		}
	}

	#tell(hash: string): void {
		this.telling.set(markOf(hash), hash);
		for (const oldest of this.telling.keys()) {
			if (this.telling.size <= maxTell) {
				break;
			}
			this.telling.delete(oldest);
		}
	}

	#read(hash: string, here: boolean): void {
		const e = this.find(hash);
		if (!e) {
			if (here) {
				this.#tell(hash);
			}
			this.early.add(markOf(hash));
		} else if (!e.read) {
			e.read = true;
			if (here) {
				[e.hash, ...e.copies].forEach((h) => this.#tell(h));
				this.sync.add(markOf(e.message));
			}
		}
	}

	#readMessage(mark: string): void {
		const e = this.message.get(mark);
		if (e) {
			e.read = true;
		} else if (!this.gone.has(mark)) {
			this.early.add(mark);
		}
	}

	#display(hash: string, state: Display): void {
		const e = this.entries.get(hash);
		if (e) {
			e.display = state;
			e.known ||= state === Display.displayed;
			this.ghosts.delete(hash);
		} else if (state === Display.not) {
			this.ghosts.delete(hash);
		} else {
			this.ghosts.add(hash);
		}
	}

	#mute(r: MuteRecord): void {
		const old = this.mutes.get(r.chat);
		if (this.#register(this.mutes, r.chat, { stamp: r.stamp, until: r.until, on: false }, r)) {
			this.channels = true;
			this.behind ||= r.until < (old?.until ?? 0);
		}
	}

	#block(r: BlockRecord): void {
		this.#register(this.blocks, r.sender, { stamp: r.stamp, until: 0, on: r.on }, r);
	}

	// Takes the later of two changes of one thing, and says whether that is this one.
	#register(all: Map<string, Register>, name: string, register: Register, r: MuteRecord | BlockRecord): boolean {
		const old = all.get(name);
		if (old && !isAfter(r.stamp, old.stamp)) {
			return false;
		}
		if (old) {
			this.stamps.delete(stampName(old.stamp));
		}
		all.set(name, register);
		while (all.size > maxRegisters) {
			const oldest = [...all].reduce((a, b) => (isAfter(a[1].stamp, b[1].stamp) ? b : a));
			all.delete(oldest[0]);
		}
		if (r.here) {
			this.stamps.set(stampName(r.stamp), r);
		}
		return true;
	}

	#keep(came: number, raw: Uint8Array): void {
		let envelope: Envelope;
		try {
			envelope = Envelope.decode(raw.slice());
		} catch (error) {
			if (isProtocolError(error)) {
				return;
			}
			throw error;
		}
		const [hash, message] = [hex0x(envelope.hash), markOf(hex0x(envelope.message()))];
		if (this.unopened.some((u) => u.hash === hash) || this.message.has(message) || this.gone.has(message)) {
			return;
		}
		this.counts.unopened++;
		this.unopened.push({ came, envelope, hash });
		this.held += raw.length;
		const sameTopic = (u: KeptEnvelope): boolean => equal(u.envelope.topic, envelope.topic);
		if (this.unopened.filter(sameTopic).length > maxTopicUnopened) {
			this.#drop(sameTopic);
		}
		while (this.unopened.length > maxUnopened || this.held > maxUnopenedBytes) {
			this.#drop(() => true);
		}
	}

	#drop(which: (u: KeptEnvelope) => boolean): void {
		this.#take(which);
		this.counts.dropped++;
	}

	// Takes out the first of them.
	#take(which: (u: KeptEnvelope) => boolean): void {
		const found = this.unopened.find(which);
		if (found) {
			this.held -= found.envelope.raw.length;
			this.unopened = this.unopened.filter((u) => u !== found);
		}
	}

	#sealed(id: string, sealed: Sealed): void {
		const draft = this.drafts.get(id);
		if (draft && !draft.sealed) {
			draft.sealed = sealed;
			this.sealedOf.add(hex0x(sealedName(sealed)));
		}
	}

	#posted(id: string, failure: string): void {
		const draft = this.drafts.get(id);
		if (!draft) {
			return;
		}
		if (draft.sealed) {
			this.sealedOf.delete(hex0x(sealedName(draft.sealed)));
		}
		this.drafts.delete(id);
		if (failure !== '') {
			this.failures = [...this.failures, { id, chat: draft.chat, payload: draft.payload, reason: failure }].slice(-maxFailures);
		}
	}

	/** The records that make the model anew. */
	records(): InboxRecord[] {
		const registers = [...this.mutes].map(([chat, { until, stamp }]): InboxRecord => ({ kind: 'mute', chat, until, stamp, here: this.stamps.has(stampName(stamp)) }));
		registers.push(...[...this.blocks].map(([sender, { on, stamp }]): InboxRecord => ({ kind: 'block', sender, on, stamp, here: this.stamps.has(stampName(stamp)) })));
		return [
			{ kind: 'begin' },
			{ kind: 'device', id: this.device },
			...(['gone', 'early', 'actions', 'sync'] as const).map((set): InboxRecord => ({ kind: 'marks', set, marks: this.#set(set).list })),
			...registers,
			...[...this.entries.values()].map((e): InboxRecord => ({ kind: 'message', ...e, copies: [...e.copies] })),
			{ kind: 'display', hashes: [...this.ghosts], state: Display.displayed },
			...this.unopened.map((u): InboxRecord => ({ kind: 'unopened', came: u.came, raw: u.envelope.raw.slice() })),
			...[...this.drafts.values()].flatMap(({ sealed, ...draft }): InboxRecord[] => [draft, ...(sealed ? [{ kind: 'sealed', id: draft.id, sealed } as const] : [])]),
			{ kind: 'channels', told: !this.channels }, // the mutes above have changed it
			{ kind: 'owed', hashes: [...this.telling.values()] },
			...this.failures.flatMap(({ id, chat, payload, reason }): InboxRecord[] => [{ kind: 'draft', id, chat, to: '', payload, written: 0 }, { kind: 'posted', id, failure: reason }]),
			{ kind: 'counts', ...this.counts },
		];
	}
}
