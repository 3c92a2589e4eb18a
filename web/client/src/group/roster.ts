// Who is in a group, by its records: what pushext/client/group makes of them, step by step the same.
import { hex0x, random } from '../bytes.js';
import { type Hex, pledgeOf, type Place, ringPlace, ticketOf } from './keys.js';
import { type GroupRecord, maxMembers, type Member, recordName } from './wire.js';

/** How many epochs are kept, to read what was written in them. */
const keptEpochs = 4;
/** How many records of one epoch count: admins who acted at once. */
const maxHeads = 4;
/** How many records wait for those that they continue. */
export const maxPending = 8;

/** Why a group does not take something. */
export type GroupErrorCode = 'unknown' | 'full' | 'not-admin' | 'senior' | 'not-for-us' | 'past' | 'early' | 'last-admin' | 'invalid';

/** What goes wrong with groups, besides a ProtocolError for bytes that are none of theirs. */
export class GroupError extends Error {
	override readonly name = 'GroupError';
	constructor(readonly code: GroupErrorCode, message: string) {
		super(message);
	}
}

const notAdmin = (): GroupError => new GroupError('not-admin', 'only an admin of the group can do that');
const senior = (): GroupError => new GroupError('senior', 'an admin cannot remove one who became an admin before them');
const notForUs = (): GroupError => new GroupError('not-for-us', 'the letter is for somebody else');

/** What an admin makes of a group. */
export interface Change {
	/** New members, and members who become admins or cease to be. */
	readonly add: readonly Member[];
	readonly remove: readonly Hex[];
	/** The group's from now on, as bytes; empty: as it was. */
	readonly name: Hex | '';
}

export const noChange: Change = { add: [], remove: [], name: '' };

/** A record as a member keeps it. */
export interface Head {
	readonly id: Hex;
	readonly by: Hex;
	readonly epoch: number;
	readonly rank: number;
	readonly name: Hex;
	readonly secret: Hex;
	readonly pledge: Hex;
	readonly parents: readonly Hex[];
	/** Unix milliseconds, by the admin's word. */
	readonly sent: number;
	readonly removed: readonly Hex[];
	readonly added: readonly Member[];
	/** After it, the senior first. */
	readonly members: readonly Member[];
	/** Of ours, in the next epoch. */
	readonly ticket: Hex;
	/** The secret of that, if we are an admin. */
	readonly next: Hex | '';
	/** Who we have not sent the letter yet, if it is ours. */
	owed: Hex[];
	/** It is ours, was passed over, and is what we intend again. */
	redone: boolean;
}

/** What a member knows of one group. It is kept as it is. */
export interface GroupState {
	/** Ascending by epoch, and as they count within one. */
	heads: Head[];
	/** Records that continue one which has not come yet. */
	pending: { payload: Uint8Array; by: Hex; sent: number }[];
	/** See `Mode`. */
	wake: number;
	/** Unix milliseconds; 0: not muted. */
	muted: number;
	/** We have left. */
	quit: boolean;
	/** Who asked us to remove them. */
	leaving: Hex[];
	/** Of ours, until the group is so. */
	intent: Change;
	/** Since when an admin has something to do, Unix milliseconds; 0: there is nothing. */
	dueSince: number;
}

export const newGroupState = (wake: number): GroupState => ({
	heads: [], pending: [], wake, muted: 0, quit: false, leaving: [], intent: noChange, dueSince: 0,
});

const newSecret = (): Hex => hex0x(random(32));

export const epochOf = (s: GroupState): number => s.heads.at(-1)?.epoch ?? 0;

const find = (list: readonly Member[], key: Hex): number => list.findIndex((m) => m.key === key);
const has = (list: readonly Member[], m: Member): boolean => list.some((o) => o.key === m.key && o.admin === m.admin);

export const isMember = (list: readonly Member[], key: Hex): boolean => find(list, key) >= 0;
export const isAdmin = (list: readonly Member[], key: Hex): boolean => list[find(list, key)]?.admin ?? false;

/**
 * The records of an epoch that count, the first of which gives it its name and secret. One
 * that was made by somebody whom a senior removed at the same time does not.
 */
export function headsOf(s: GroupState, epoch: number): Head[] {
	const heads: Head[] = [];
	for (const h of s.heads) {
		if (h.epoch === epoch && heads.every((o) => isMember(o.members, h.by))) {
			heads.push(h);
		}
	}
	return heads;
}

/** The records that count now. */
export const current = (s: GroupState): Head[] => headsOf(s, epochOf(s));

function agreed(heads: readonly Head[], key: Hex): boolean {
	let [everywhere, added] = [true, false];
	for (const h of heads) {
		if (h.removed.includes(key)) {
			return false;
		}
		everywhere &&= isMember(h.members, key);
		added ||= isMember(h.added, key) && isMember(h.members, key);
	}
	return everywhere || added;
}

/** The members by some records of one epoch: who is one by all of them, and who was added by one and removed by none. */
function membersBy(heads: readonly Head[]): Member[] {
	let list: Member[] = [];
	for (const h of heads) {
		for (const m of h.members) {
			const held = list[find(list, m.key)];
			if (!agreed(heads, m.key)) {
				continue;
			}
			if (!held) {
				list.push(m);
			} else if (m.admin !== held.admin && has(h.added, m)) {
				list = [...list.filter((o) => o.key !== m.key), m]; // the first left it as it was
			}
		}
	}
	return list;
}

export const membersOf = (s: GroupState): Member[] => membersBy(current(s));

/** The bytes of the group's name. */
export const nameOf = (s: GroupState): Hex => current(s)[0]?.name ?? '0x';

/** Whether somebody who is no member was one, as far as is known. */
export const isGone = (s: GroupState, key: Hex): boolean => s.heads.some((h) => isMember(h.members, key) || h.removed.includes(key));

function parentsOf(s: GroupState, r: Pick<GroupRecord, 'epoch' | 'parents'>): { parents: Head[]; all: boolean } {
	const parents = s.heads.filter((h) => h.epoch === r.epoch - 1 && r.parents.includes(h.id));
	return { parents, all: parents.length === r.parents.length && parents.length > 0 };
}

/** Makes the members after a change of those before. Throws a GroupError. */
function applied(before: readonly Member[], removed: readonly Hex[], added: readonly Member[], by: Hex): Member[] {
	if (!isAdmin(before, by)) {
		throw notAdmin();
	}
	let list = [...before];
	const rank = find(before, by);
	for (const k of removed) {
		const at = find(before, k);
		if (at >= 0 && before[at]!.admin && at <= rank) {
			throw senior();
		}
		list = list.filter((m) => m.key !== k);
	}
	for (const m of added) {
		const at = find(list, m.key);
		if (at >= 0 && list[at]!.admin && !m.admin && at < rank) {
			throw senior();
		}
		if (at >= 0 && list[at]!.admin === m.admin) {
			continue;
		}
		list = [...list.filter((o) => o.key !== m.key), { key: m.key, admin: m.admin }];
	}
	if (list.length > maxMembers) {
		throw new GroupError('invalid', `a group of ${list.length} members, at most ${maxMembers}`);
	}
	return list;
}

/** Adds a record that came by a letter to us. Throws a GroupError, `early` if the record has to wait. */
export function take(s: GroupState, r: GroupRecord, by: Hex, me: Hex, sent: number): void {
	const id = recordName(r, by);
	if (r.to !== me) {
		throw notForUs();
	}
	if (s.heads.some((h) => h.id === id)) {
		return;
	}
	if (s.heads.length > 0 && r.epoch < epochOf(s)) {
		throw new GroupError('past', 'the record is of an epoch that is over');
	}
	const { parents, all } = parentsOf(s, r);
	let members = r.all;
	if (all) {
		const before = membersBy(parents);
		members = applied(before, r.removed, r.added, by);
		if (r.rank !== find(before, by)) {
			throw new GroupError('invalid', `a record of somebody of rank ${r.rank}, who has ${find(before, by)}`);
		}
	} else if (r.all.length === 0) {
		throw new GroupError('early', 'the record continues one that has not come yet');
	} else if (!isAdmin(r.all, by) || (s.heads.length > 0 && !isAdmin(membersOf(s), by))) {
		// An admin whom we know tells us what we have missed. Who is new takes the word of the
		// one who invited them.
		throw notAdmin();
	}
	if (!isMember(members, me)) {
		throw notForUs();
	}
	const { name, epoch, rank, secret, pledge, removed, added, ticket, next } = r;
	add(s, { id, by, epoch, rank, name, secret, pledge, parents: r.parents, sent, removed, added, members, ticket, next, owed: [], redone: false }, me);
}

const order = (a: Head, b: Head): number => a.epoch - b.epoch || a.rank - b.rank || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Puts a record among the others. Where there are too many of an epoch, the last ones do not count for anybody. */
function add(s: GroupState, h: Head, me: Hex): void {
	s.heads = [...s.heads, h].sort(order);
	const [newest, kept] = [epochOf(s), [] as Head[]];
	for (const o of s.heads) {
		const same = kept.filter((k) => k.epoch === o.epoch).length;
		if (o.epoch + keptEpochs > h.epoch && o.epoch + keptEpochs > newest && same < maxHeads) {
			kept.push(o);
		}
	}
	s.heads = kept;
	const list = membersOf(s);
	for (const o of s.heads) {
		// What was made at the same time as two others is to be made again.
		const passed = !current(s).some((c) => c.parents.includes(o.id));
		if (o.by === me && o.epoch + 1 === epochOf(s) && passed && !o.redone) {
			o.redone = true;
			s.intent = joined(s.intent, { add: o.added, remove: o.removed, name: '' });
		}
	}
	s.leaving = s.leaving.filter((k) => isMember(list, k));
	s.intent = left(s.intent, list, nameOf(s));
}

/** What of a change is not so. */
const left = (c: Change, list: readonly Member[], name: Hex): Change => ({
	add: c.add.filter((m) => !has(list, m)), remove: c.remove.filter((k) => isMember(list, k)), name: c.name === name ? '' : c.name,
});

/** Adds a later change to one that waits. */
function joined(c: Change, later: Change): Change {
	const add = [...c.add.filter((m) => !isMember(later.add, m.key) && !later.remove.includes(m.key)), ...later.add];
	const remove = [...c.remove, ...later.remove.filter((k) => !c.remove.includes(k))].filter((k) => !isMember(later.add, k));
	return { add, remove, name: later.name || c.name };
}

const isEmpty = (c: Change): boolean => c.add.length + c.remove.length === 0 && c.name === '';

const sameMembers = (a: readonly Member[], b: readonly Member[]): boolean => {
	const keys = (list: readonly Member[]): string => list.map((m) => m.key).sort().join();
	return keys(a) === keys(b);
};

/** Whether there are records of now that not all members have, or others too: then there is to be another epoch. */
const isUneven = (s: GroupState): boolean => s.heads.some((h) => h.epoch === epochOf(s) && !sameMembers(h.members, membersOf(s)));

/** Whether an admin has something to do. */
export const isDue = (s: GroupState): boolean => isUneven(s) || s.leaving.length > 0 || !isEmpty(s.intent);

export const hasIntent = (s: GroupState): boolean => !isEmpty(s.intent);

/** What is the same in all letters. */
const recordOf = (group: Hex, h: Omit<Head, 'id'>): GroupRecord => ({
	group, name: h.name, epoch: h.epoch, rank: h.rank, parents: h.parents, secret: h.secret, pledge: h.pledge, removed: h.removed, added: h.added,
	to: '', ticket: '', next: '', all: [],
});

/** Begins a group of its founder. */
export function found(group: Hex, name: Hex, me: Hex, now: number, wake: number): GroupState {
	const founder = [{ key: me, admin: true }];
	const next = newSecret();
	const head = {
		by: me, epoch: 1, rank: 0, name, secret: newSecret(), pledge: pledgeOf(next), parents: [], sent: now, removed: [], added: founder, members: founder,
		ticket: ticketOf(next, me), next, owed: [], redone: false,
	};
	const s = newGroupState(wake);
	add(s, { ...head, id: recordName(recordOf(group, head), me) }, me);
	return s;
}

/** Whether one member can remove another. */
export function isRemovable(list: readonly Member[], key: Hex, by: Hex): boolean {
	const at = find(list, key);
	return at >= 0 && isAdmin(list, by) && (!list[at]!.admin || at > find(list, by));
}

/** Notes what an admin wants, and makes the record of it. Returns who is new. Throws a GroupError. */
export function intend(s: GroupState, group: Hex, c: Change, me: Hex, now: number): Hex[] {
	const before = membersOf(s);
	if (!isAdmin(before, me)) {
		throw notAdmin();
	}
	const invited = c.add.filter((m) => !isMember(before, m.key)).map((m) => m.key);
	s.intent = left(joined(s.intent, c), before, nameOf(s));
	if (!isEmpty(s.intent) || isUneven(s)) {
		amend(s, group, me, now);
	}
	return invited;
}

/** Makes the record of what an admin has to do. Throws a GroupError. */
export function amend(s: GroupState, group: Hex, me: Hex, now: number): void {
	let c = s.intent;
	const list = membersOf(s);
	for (const k of s.leaving) {
		if (isRemovable(list, k, me) && !c.remove.includes(k)) {
			// But those whom it is not ours to remove.
			c = { ...c, remove: [...c.remove, k], add: c.add.filter((m) => m.key !== k) };
		}
	}
	s.dueSince = 0;
	change(s, group, c, me, Math.max(now, ...current(s).map((h) => h.sent + 1)));
}

/** Makes a record, which is in force here at once and owed to the others. */
function change(s: GroupState, group: Hex, wanted: Change, me: Hex, now: number): void {
	const heads = current(s);
	const before = membersBy(heads);
	const c = left(wanted, before, nameOf(s));
	const members = applied(before, c.remove, c.add, me);
	if (!isMember(members, me)) {
		throw new GroupError('invalid', 'who makes a change stays a member; leave instead');
	}
	const next = newSecret();
	const head = {
		by: me, epoch: epochOf(s) + 1, rank: find(before, me), name: c.name || nameOf(s), secret: nextSecret(heads, members), pledge: pledgeOf(next),
		parents: heads.map((h) => h.id), sent: now, removed: c.remove, added: c.add, members, ticket: ticketOf(next, me), next,
		owed: members.map((m) => m.key), // ourselves too: we may have other devices
		redone: false,
	};
	add(s, { ...head, id: recordName(recordOf(group, head), me) }, me);
}

/** The secret that the members were given tickets of, unless somebody knows it who is to be no member. */
function nextSecret(heads: readonly Head[], after: readonly Member[]): Hex {
	const first = heads[0]!;
	const known = !isMember(after, first.by) || first.members.some((m) => m.admin && !isMember(after, m.key));
	return known || first.next === '' ? newSecret() : first.next;
}

/** What a record of ours says to one member, and where they may listen for it: nowhere if they are new, and are to be invited. */
export function letter(s: GroupState, group: Hex, h: Head, to: Hex): { record: GroupRecord; places: Place[] } {
	const record = { ...recordOf(group, h), to, ticket: ticketOf(h.next, to), next: isAdmin(h.members, to) ? h.next : '' } as const;
	const { parents, all } = parentsOf(s, record);
	const tickets = new Set(parents.filter((p) => isMember(p.members, to) && p.next !== '').map((p) => ticketOf(p.next, to)));
	if (tickets.size === 0) {
		// Or we invited them to what was passed over.
		const other = [...s.heads].reverse().find((o) => o.epoch < h.epoch && isMember(o.members, to) && o.next !== '');
		if (other) {
			tickets.add(ticketOf(other.next, to));
		}
	}
	// They may not have all that this one continues.
	const whole = !all || parents.length !== 1 || !isMember(parents[0]!.members, to);
	return { record: whole ? { ...record, all: h.members } : record, places: [...tickets].map(ringPlace) };
}

/** The record by which somebody becomes a member here, and who made it. Throws a GroupError. */
export function inviting(s: GroupState, group: Hex, to: Hex): { record: GroupRecord; head: Head } {
	const all = membersOf(s);
	if (!isMember(all, to)) {
		throw new GroupError('invalid', 'who is invited is to be a member already');
	}
	const head = current(s).find((h) => h.next !== '');
	if (!head) {
		throw notAdmin();
	}
	return { head, record: { ...recordOf(group, head), to, ticket: ticketOf(head.next, to), next: isAdmin(all, to) ? head.next : '', all } };
}
