import { equal, fromHex, hex0x, random, text, utf8 } from '../bytes.js';
import { ProtocolError } from '../errors.js';
import { type Chat, type Preview } from '../device/chat.js';
import { type Store } from '../device/store.js';
import { Mode } from '../push/parts.js';
import { type PrivateKey, publicKeyOf } from '../whisper/keys.js';
import { type Topic } from '../whisper/topic.js';
import { type Hex, messageName, messagesPlace, type Place, ringPlace, ticketOf } from './keys.js';
import {
	amend, type Change, current, epochOf, found, GroupError, type GroupState, hasIntent, headsOf, intend, inviting, isAdmin, isDue, isGone, isMember, isRemovable,
	letter, maxPending, membersOf, nameOf, newGroupState, noChange, take,
} from './roster.js';
import { decodeFrame, decodeInvitation, decodeRecord, encodeInvitation, encodeRecord, type Frame, FrameKind, maxGroupName, maxGroups, type Member } from './wire.js';

const format = 1;
/** How many mentions are remembered, to be rung again if the group has changed without their author knowing, and how long they are in all. */
const maxRung = 64;
const maxRungBytes = 256 << 10;
const rungLife = 24 * 3600_000;
/** How much older than a record a mention may be and still have come after it, in milliseconds. */
const rungSlack = 30_000;
/** How long an admin leaves to the senior one what is to be done, in milliseconds. */
const patience = 60_000;

interface Look {
	readonly topic: Hex;
	/** Unix milliseconds. */
	readonly since: number;
}

interface Rung {
	readonly group: Hex;
	readonly id: Hex;
	readonly to: Hex;
	readonly body: Uint8Array;
	readonly sent: number;
	epoch: number;
}

/** What is in the store. */
interface Content {
	readonly format: typeof format;
	readonly groups: Record<Hex, GroupState>;
	/** Topics of which the mailserver may not know yet how they are. */
	untold: Hex[];
	/** Topics on which something may have come before the device knew of them. */
	looks: Look[];
	rung: Rung[];
}

/** What there is to show of a group. */
export interface GroupInfo {
	readonly id: Hex;
	readonly name: string;
	readonly epoch: number;
	/** The senior first. */
	readonly members: readonly Member[];
	/** What wakes the person, see `Mode`. */
	readonly wake: number;
	/** The person has left it. */
	readonly left: boolean;
}

/** A chat on the network, and what comes there. */
export interface Slot {
	readonly group: Hex;
	readonly chat: Chat;
	readonly kind: 'ring' | 'letter' | 'messages';
	/** Whose key it has. */
	readonly epoch: number;
	/** When it came to be, Unix milliseconds. */
	readonly since: number;
}

/** A message that was written in a group. */
export interface GroupMessage {
	readonly group: Hex;
	/** The same in whatever envelope it comes. */
	readonly name: Hex;
	/** Of the envelope that it came in. */
	readonly hash: Hex;
	readonly author: Hex;
	readonly payload: Uint8Array;
	readonly sent: Date;
	readonly profile: Preview['profile'];
	/** It came to where the person alone is rung. */
	readonly mention: boolean;
}

/** What becomes of what came in a slot. */
export type Verdict = { readonly kind: 'ignored' | 'unsure' | 'heard' } | { readonly kind: 'shown'; readonly message: GroupMessage };

/** A letter that is to be sent. */
export interface Letter {
	readonly group: Hex;
	readonly record: Hex;
	readonly to: Hex;
	readonly places: readonly Place[];
	readonly body: Uint8Array;
}

const slotPrefix = 'group ';

/** Whether a chat of a device is one of a group, of whatever epoch. */
export const isGroupChat = (name: string): boolean => name.startsWith(slotPrefix);

const read = (held: unknown): Content => {
	if (held === undefined) {
		return { format, groups: {}, untold: [], looks: [], rung: [] };
	}
	const content = held as Content;
	if (content.format !== format) {
		throw new GroupError('invalid', `the groups in the store are of another version, format ${String(content.format)}`);
	}
	return content;
};

/**
 * What one person knows of their groups, in a store, which windows and workers share. It holds
 * the groups' secrets.
 */
export class Book {
	/** The person's public key. */
	readonly me: Hex;
	readonly identity: PrivateKey;
	readonly #store: Store;
	readonly #name: string;

	/**
	 * @param identity the key that the person signs with
	 * @param name under which the groups are in the store
	 */
	constructor(store: Store, identity: PrivateKey, name = 'groups') {
		this.identity = identity;
		this.me = hex0x(publicKeyOf(identity));
		this.#store = store;
		this.#name = name;
	}

	/** A copy of all that the person knows of their groups, with their secrets, for a file that is sealed. */
	copy(): Promise<unknown> {
		return this.#read((content) => content);
	}

	/** Takes a copy in place of what is there. Throws a GroupError for one of another version. */
	restore(copy: unknown): Promise<void> {
		return this.#store.update(this.#name, () => read(copy));
	}

	async #change<T>(change: (content: Content) => T, write = true): Promise<T> {
		let result: { value: T } | undefined;
		await this.#store.update(this.#name, (held) => {
			const content = read(held);
			result = { value: change(content) };
			return write ? content : undefined;
		});
		return result!.value;
	}

	#read<T>(look: (content: Content) => T): Promise<T> {
		return this.#change(look, false);
	}

	/** Changes one group, and notes the topics that the mailserver is to be told of. */
	#alter<T>(id: Hex, change: (s: GroupState) => T): Promise<T> {
		return this.#change((content) => {
			const s = content.groups[id];
			if (!s) {
				throw unknown();
			}
			const before = this.#slots(id, s);
			const result = change(s);
			note(content, before, this.#slots(id, s));
			return result;
		});
	}

	#enter(id: Hex, begin: (before: GroupState | undefined) => GroupState): Promise<void> {
		return this.#change((content) => {
			const before = content.groups[id];
			if (!before && Object.keys(content.groups).length >= maxGroups) {
				throw new GroupError('full', `one is in ${maxGroups} groups at most`);
			}
			const slots = this.#slots(id, before);
			const s = begin(before);
			note(content, slots, this.#slots(id, s));
			content.groups[id] = s;
		});
	}

	/** Begins a group whose only member, and admin, is the person. Returns its id. */
	async found(name: string, now = Date.now()): Promise<Hex> {
		const id = hex0x(random(16));
		await this.#enter(id, () => found(id, groupName(name), this.me, now, Mode.mentions));
		return id;
	}

	/**
	 * Makes the invitation of a member, to be sent to them and nobody else, encrypted and signed:
	 * whoever has it reads the group. Also for one who was away so long that the mailserver has
	 * none of the letters between any more.
	 */
	invite(id: Hex, to: Hex): Promise<Uint8Array> {
		return this.#read(({ groups }) => {
			if (!groups[id]) {
				throw unknown();
			}
			const { record, head } = inviting(groups[id], id, to);
			return encodeInvitation({ by: head.by, sent: head.sent, record });
		});
	}

	/**
	 * Takes an invitation that came from somebody, who must be an admin of the group by its own
	 * word: whether the person wants to be in a group of theirs is for the app to ask.
	 */
	async join(payload: Uint8Array, from: Hex): Promise<Hex> {
		const { by, sent, record } = decodeInvitation(payload);
		if (!isAdmin(record.all, from)) {
			throw new GroupError('not-admin', 'the invitation is of somebody who is no admin of the group');
		}
		await this.#enter(record.group, (before) => {
			const s = newGroupState(Mode.mentions);
			if (before) {
				if (record.epoch < epochOf(before)) {
					throw new GroupError('past', 'the invitation is of an epoch that is over');
				}
				[s.wake, s.muted] = [before.wake, before.muted];
			}
			take(s, record, by, this.me, sent);
			return s;
		});
		return record.group;
	}

	/** Says what wakes the person in a group: mentions, as it is at first, every message, or nothing. */
	setWake(id: Hex, wake: number): Promise<void> {
		return this.#alter(id, (s) => void (s.wake = wake));
	}

	/** Silences a group up to a time, Unix milliseconds; 0: it is not. */
	mute(id: Hex, until: number): Promise<void> {
		return this.#alter(id, (s) => void (s.muted = until));
	}

	/** Notes that the person is a member no more. */
	quit(id: Hex): Promise<void> {
		return this.#alter(id, (s) => void (s.quit = true));
	}

	/** Removes a group. Of one that the person is a member of, the device's `leave` tells the admins first. */
	forget(id: Hex): Promise<void> {
		return this.#change((content) => {
			note(content, this.#slots(id, content.groups[id]), []);
			delete content.groups[id];
			content.rung = content.rung.filter((r) => r.group !== id);
		});
	}

	/** All groups. */
	groups(): Promise<GroupInfo[]> {
		return this.#read(({ groups }) => Object.entries(groups).map(([id, s]) => ({
			id, name: text(fromHex(nameOf(s))), epoch: epochOf(s), members: membersOf(s), wake: s.wake, left: s.quit,
		})));
	}

	/** One of them. */
	async group(id: Hex): Promise<GroupInfo> {
		const info = (await this.groups()).find((g) => g.id === id);
		if (!info) {
			throw unknown();
		}
		return info;
	}

	/** The chats of all groups on the network, in an order that says nothing. */
	async slots(): Promise<Slot[]> {
		const all = await this.#read(({ groups }) => Object.entries(groups).flatMap(([id, s]) => this.#slots(id, s)));
		return all.sort((a, b) => (hex0x(a.chat.topic) < hex0x(b.chat.topic) ? -1 : 1));
	}

	// Where we are rung in the epochs of now and next, the last one's to open what came late, and
	// the messages of all epochs that are kept.
	#slots(id: Hex, s: GroupState | undefined): Slot[] {
		if (!s || s.quit) {
			return [];
		}
		const all: Slot[] = [];
		const add = (kind: Slot['kind'], chat: Omit<Chat, 'name'>, epoch: number, since: number): void => {
			const name = `${slotPrefix}${id} ${kind} ${epoch} ${hex0x(chat.topic)}`;
			if (!all.some((o) => equal(o.chat.topic, chat.topic) && (o.kind === 'letter') === (kind === 'letter'))) {
				all.push({ group: id, chat: { ...chat, name }, kind, epoch, since });
			}
		};
		const now = epochOf(s);
		const mode = s.wake === Mode.muted ? Mode.muted : Mode.every;
		const mutedUntil = s.muted > 0 ? new Date(s.muted) : undefined;
		const ring = ({ topic, key }: Place, epoch: number, listed: boolean, since: number): void => {
			const chat = { topic, mode, mutedUntil, unlisted: !listed };
			add('ring', { ...chat, key }, epoch, since);
			add('letter', { ...chat, identity: this.identity }, epoch, since);
		};
		for (const h of headsOf(s, now)) {
			ring(ringPlace(ticketOf(h.secret, this.me)), now, true, h.sent);
		}
		for (const epoch of [now, now - 1]) {
			for (const h of headsOf(s, epoch)) {
				// What the last epoch promised for this one is usually where we are rung now. Else
				// another admin who acted at the same time may have sent a letter there.
				ring(ringPlace(h.ticket), epoch + 1, epoch === now, h.sent);
				ring(ringPlace(ticketOf(h.secret, this.me)), epoch, epoch === now, h.sent);
			}
		}
		for (const h of s.heads) {
			const every = s.wake === Mode.every && h.epoch === now;
			add('messages', { ...messagesPlace(h.secret), unlisted: !every, mutedUntil }, h.epoch, h.sent);
		}
		return all;
	}

	/** Takes a letter. What makes no sense changes nothing: it throws a GroupError or ProtocolError. */
	async receive(slot: Slot, p: Preview): Promise<void> {
		const record = decodeRecord(p.payload);
		const by = p.sender;
		if (record.group !== slot.group || !by) {
			throw new GroupError('not-for-us', 'the letter is of another group, or of nobody');
		}
		await this.#alter(slot.group, (s) => {
			try {
				take(s, record, by, this.me, p.sent.getTime());
			} catch (error) {
				const early = error instanceof GroupError && error.code === 'early';
				if (!early || record.epoch > epochOf(s) + maxPending || !isAdmin(membersOf(s), by) || s.pending.length >= maxPending) {
					throw error;
				}
				s.pending.push({ payload: p.payload, by, sent: p.sent.getTime() });
			}
			for (let again = true; again; ) {
				const at = s.pending.findIndex((w) => !this.#waits(s, w));
				again = at >= 0;
				if (again) {
					s.pending.splice(at, 1);
				}
			}
		});
	}

	// Whether a record still has to wait; if not, it was taken, or is of no use.
	#waits(s: GroupState, w: GroupState['pending'][number]): boolean {
		try {
			take(s, decodeRecord(w.payload), w.by, this.me, w.sent);
			return false;
		} catch (error) {
			if (error instanceof GroupError || error instanceof ProtocolError) {
				return error instanceof GroupError && error.code === 'early';
			}
			throw error;
		}
	}

	/** Reads what came in a slot for messages. Throws a ProtocolError for what is no frame. */
	async read(slot: Slot, p: Preview): Promise<Verdict> {
		const f = decodeFrame(p.payload);
		const author = p.sender;
		const wrong = f.group !== slot.group || f.epoch !== slot.epoch || (f.kind === FrameKind.message) !== (slot.kind === 'messages');
		if (!author || wrong || (f.kind !== FrameKind.message && f.to !== this.me)) {
			return { kind: 'ignored' };
		}
		const standing = await this.#read(({ groups }) => {
			const s = groups[slot.group];
			return s && !s.quit ? { member: isMember(membersOf(s), author), gone: isGone(s, author), epoch: epochOf(s) } : undefined;
		});
		if (!standing) {
			return { kind: 'heard' };
		}
		if (!standing.member) {
			return { kind: slot.epoch >= standing.epoch && !standing.gone ? 'unsure' : 'ignored' };
		}
		if (f.kind === FrameKind.leave) {
			await this.#alter(slot.group, (s) => {
				if (slot.epoch >= epochOf(s) && author !== this.me && isRemovable(membersOf(s), author, this.me) && !s.leaving.includes(author)) {
					s.leaving.push(author);
				}
			});
			return { kind: 'heard' };
		}
		// As whoever posted it calls it, if that was us.
		const name = author === this.me ? f.id : messageName(slot.group, author, f.id);
		return {
			kind: 'shown',
			message: { group: slot.group, name, hash: p.hash, author, payload: f.body, sent: p.sent, profile: p.profile, mention: f.kind === FrameKind.mention },
		};
	}

	/** Where messages to a group go now, and the epoch of their frames. */
	writing(id: Hex): Promise<{ place: Place; epoch: number }> {
		return this.#read(({ groups }) => {
			const s = groups[id];
			if (!s || s.quit) {
				throw unknown();
			}
			const [first] = current(s);
			return { place: messagesPlace(first!.secret), epoch: first!.epoch };
		});
	}

	/** Where a member is rung now, and in which epoch; undefined: they are no member. */
	ringOf(id: Hex, member: Hex): Promise<{ place: Place; epoch: number } | undefined> {
		return this.#read(({ groups }) => {
			const s = groups[id];
			if (!s || !isMember(membersOf(s), member)) {
				return undefined;
			}
			const [first] = current(s);
			return { place: ringPlace(ticketOf(first!.secret, member)), epoch: first!.epoch };
		});
	}

	/** The topics on which letters to us may come, and since when. */
	rings(id: Hex): Promise<{ topics: Topic[]; since: number }> {
		return this.#read(({ groups }) => {
			const s = groups[id];
			if (!s || s.quit) {
				throw unknown();
			}
			const letters = this.#slots(id, s).filter((slot) => slot.kind === 'letter');
			return { topics: letters.map((slot) => slot.chat.topic), since: current(s)[0]!.sent };
		});
	}

	/** Remembers whom a message mentions, until they cannot miss it any more. */
	ringing(group: Hex, id: Hex, body: Uint8Array, to: readonly Hex[], now: number): Promise<void> {
		return this.#change((content) => {
			const epoch = content.groups[group] ? epochOf(content.groups[group]) : 0;
			content.rung.push(...to.map((k) => ({ group, id, to: k, body, sent: now, epoch })));
			prune(content, now);
		});
	}

	/** Mentions that their receiver may have had no topic for any more, as the group had changed when they were made. */
	missed(now: number): Promise<Rung[]> {
		return this.#change((content) => {
			const list: Rung[] = [];
			for (const r of content.rung) {
				const s = content.groups[r.group];
				if (!s || r.epoch >= epochOf(s)) {
					continue;
				}
				if (current(s)[0]!.sent - rungSlack <= r.sent) {
					list.push({ ...r });
				}
				r.epoch = epochOf(s);
			}
			prune(content, now);
			return list;
		});
	}

	/** Makes the record of a change. Returns who is new, and to be invited. */
	intend(id: Hex, change: { readonly add?: readonly Member[]; readonly remove?: readonly Hex[]; readonly name?: string }, now = Date.now()): Promise<Hex[]> {
		const c: Change = { add: change.add ?? [], remove: change.remove ?? [], name: change.name ? groupName(change.name) : '' };
		return this.#alter(id, (s) => intend(s, id, c, this.me, now));
	}

	/** Does what is an admin's to do. Says whether a group has changed. */
	async tidy(now: number): Promise<boolean> {
		let changed = false;
		for (const g of await this.groups()) {
			if (g.left || !isAdmin(g.members, this.me)) {
				continue;
			}
			const senior = g.members.find((m) => m.admin)?.key === this.me;
			await this.#alter(g.id, (s) => {
				if (!isDue(s)) {
					s.dueSince = 0;
					return;
				}
				s.dueSince ||= now;
				if (!senior && !hasIntent(s) && now - s.dueSince < patience) {
					return;
				}
				try {
					amend(s, g.id, this.me, now);
					changed = true;
				} catch (error) {
					if (!(error instanceof GroupError)) {
						throw error;
					}
					s.intent = noChange; // it is not ours to do any more
				}
			});
		}
		return changed;
	}

	/** The letters that are to be sent first. */
	owed(most: number): Promise<Letter[]> {
		return this.#read(({ groups }) => {
			const list: Letter[] = [];
			for (const [group, s] of Object.entries(groups)) {
				for (const h of s.heads) {
					for (const to of h.owed.slice(0, most - list.length)) {
						const { record, places } = letter(s, group, h, to);
						list.push({ group, record: h.id, to, places, body: encodeRecord(record) });
					}
				}
			}
			return list;
		});
	}

	/** Notes that a letter is out. */
	sent(l: Letter): Promise<void> {
		return this.#change(({ groups }) => {
			for (const h of groups[l.group]?.heads ?? []) {
				if (h.id === l.record) {
					h.owed = h.owed.filter((k) => k !== l.to);
				}
			}
		});
	}

	untold(): Promise<Hex[]> {
		return this.#read((content) => content.untold);
	}

	told(topics: readonly Hex[]): Promise<void> {
		return this.#change((content) => void (content.untold = content.untold.filter((t) => !topics.includes(t))));
	}

	looks(): Promise<Look[]> {
		return this.#read((content) => content.looks);
	}

	looked(done: readonly Look[]): Promise<void> {
		return this.#change((content) => void (content.looks = content.looks.filter((l) => !done.some((d) => d.topic === l.topic && d.since === l.since))));
	}
}

const unknown = (): GroupError => new GroupError('unknown', 'there is no such group here');

function groupName(name: string): Hex {
	const bytes = utf8(name);
	if (bytes.length > maxGroupName) {
		throw new GroupError('invalid', `a group's name has at most ${maxGroupName} bytes; this one has ${bytes.length}`);
	}
	return hex0x(bytes);
}

// Keeps what the mailserver is to be told, and asked, after a group's slots have changed.
function note(content: Content, before: readonly Slot[], after: readonly Slot[]): void {
	const listed = (slots: readonly Slot[]): Map<string, Hex> =>
		new Map(slots.filter((s) => !s.chat.unlisted).map(({ chat }) => [`${hex0x(chat.topic)} ${chat.mode} ${chat.mutedUntil?.getTime()}`, hex0x(chat.topic)]));
	const [was, is] = [listed(before), listed(after)];
	for (const [how, topic] of [...was, ...is]) {
		if (was.has(how) !== is.has(how) && !content.untold.includes(topic)) {
			content.untold.push(topic);
		}
	}
	const known = new Set([...before.map((s) => hex0x(s.chat.topic)), ...content.looks.map((l) => l.topic)]);
	for (const { chat, since } of after) {
		const topic = hex0x(chat.topic);
		if (!known.has(topic)) {
			known.add(topic);
			content.looks.push({ topic, since });
		}
	}
}

function prune(content: Content, now: number): void {
	let [size, kept] = [0, content.rung.length];
	while (kept > 0 && content.rung.length - kept < maxRung) {
		const r = content.rung[kept - 1]!;
		size += r.body.length;
		if (size > maxRungBytes || now - r.sent > rungLife) {
			break;
		}
		kept--;
	}
	content.rung = content.rung.slice(kept);
}

/** Makes the frame of something. */
export const frameOf = (kind: number, group: Hex, epoch: number, id: Hex, to: Hex | '', body: Uint8Array): Frame => ({ kind, group, epoch, id, to, body });
