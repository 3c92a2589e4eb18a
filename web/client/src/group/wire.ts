// The bytes of groups, see docs/protocol.md, section 13. Each list may grow at its end.
import { keccak_256 } from '@noble/hashes/sha3.js';
import { fromHex, hex0x } from '../bytes.js';
import { isProtocolError, malformed, ProtocolError, tooLarge } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { publicKeySize } from '../whisper/keys.js';
import { type Hex, pledgeOf } from './keys.js';

const version = 1;

/** The most members of a group. */
export const maxMembers = 256;
/** The longest name of a group, in bytes. */
export const maxGroupName = 64;
/** The longest message, in bytes. */
export const maxBody = 32 << 10;
/** The most groups of a person. */
export const maxGroups = 64;

const maxParents = 4;
const maxFrame = maxBody + 1024;
/** More than a record with all members in each of its lists takes, in bytes. */
const maxRecord = 32 << 10;
const maxInvitation = maxRecord + 1024;
const idSize = 16;
const hashSize = 32;

export const FrameKind = {
	/** On the group's topic. */
	message: 1,
	/** The same, on the topic of a member who is to be rung. */
	mention: 2,
	/** To an admin: the author wants to be a member no more. */
	leave: 3,
} as const;

/** The payload of a message, signed by its author. */
export interface Frame {
	readonly kind: number;
	readonly group: Hex;
	/** Whose key it is encrypted under. */
	readonly epoch: number;
	/** Of the message, chosen by its author. */
	readonly id: Hex;
	/** Who is rung; empty: everybody may read it. */
	readonly to: Hex | '';
	readonly body: Uint8Array;
}

/** One person in a group. */
export interface Member {
	readonly key: Hex;
	/** Whether they may change who is a member. */
	readonly admin: boolean;
}

/** What begins an epoch, as one member is told of it. */
export interface GroupRecord {
	readonly group: Hex;
	/** Bytes of the group's name: what is not UTF-8 is the same for everybody all the same. */
	readonly name: Hex;
	readonly epoch: number;
	/** Of who made it, among the members before: 0 is the senior one. */
	readonly rank: number;
	/** Records that it continues; none: the first. */
	readonly parents: readonly Hex[];
	readonly secret: Hex;
	/** Of the secret that is meant for the next epoch. */
	readonly pledge: Hex;
	readonly removed: readonly Hex[];
	/** New members, and those who become admins or cease to be. */
	readonly added: readonly Member[];
	/** The receiver, and their ticket in the next epoch. */
	readonly to: Hex;
	readonly ticket: Hex;
	/** The secret of that; for admins, else empty. */
	readonly next: Hex | '';
	/** All members of the epoch, the senior first; for who has no record before it. */
	readonly all: readonly Member[];
}

/** What a new member is given. */
export interface Invitation {
	/** Who made the record. */
	readonly by: Hex;
	/** Unix milliseconds. */
	readonly sent: number;
	readonly record: GroupRecord;
}

const bytes = (value: Hex | ''): Uint8Array => rlp.string(fromHex(value));
const hexes = (values: readonly Hex[]): Uint8Array => rlp.list(values.map(bytes));
const membersList = (list: readonly Member[]): Uint8Array => rlp.list(list.map((m) => rlp.list([bytes(m.key), rlp.uint(m.admin ? 1 : 0)])));

const fixed = (r: Reader, what: string, size: number): Hex => hex0x(r.fixed(what, size));
const maybe = (r: Reader, what: string, size: number): Hex | '' => {
	const value = r.maybe(what, size);
	return value.length === 0 ? '' : hex0x(value);
};
const readMember = (r: Reader): Member => {
	const list = r.list('member');
	const member = { key: fixed(list, 'member', publicKeySize), admin: list.bool('admin') };
	if (list.more) {
		throw malformed('a member of more than two elements');
	}
	return member;
};

function open(payload: Uint8Array, what: string, most: number): Reader {
	if (payload.length > most) {
		throw tooLarge(`${what} of ${payload.length} bytes, at most ${most}`);
	}
	const r = Reader.open(payload, what, false);
	const got = r.uint('version');
	if (got !== BigInt(version)) {
		throw new ProtocolError('version', `${what} of version ${got}, not ${version}`);
	}
	return r;
}

export const encodeFrame = (f: Frame): Uint8Array =>
	rlp.list([rlp.uint(version), rlp.uint(f.kind), bytes(f.group), rlp.uint(f.epoch), bytes(f.id), bytes(f.to), rlp.string(f.body)]);

/** Reads a frame. Throws a ProtocolError. */
export function decodeFrame(payload: Uint8Array): Frame {
	const r = open(payload, 'frame', maxFrame);
	const frame = {
		kind: r.small('kind', FrameKind.leave), group: fixed(r, 'group', idSize), epoch: r.small('epoch', Number.MAX_SAFE_INTEGER), id: fixed(r, 'id', hashSize),
		to: maybe(r, 'receiver', publicKeySize), body: r.bytes('message', maxBody).slice(),
	};
	if (frame.kind === 0 || (frame.kind === FrameKind.message) !== (frame.to === '')) {
		throw malformed(`a frame of kind ${frame.kind} ${frame.to === '' ? 'to nobody' : 'to somebody'}`);
	}
	return frame;
}

const common = (r: GroupRecord): Uint8Array[] => [
	bytes(r.group), bytes(r.name), rlp.uint(r.epoch), rlp.uint(r.rank), hexes(r.parents), bytes(r.secret), bytes(r.pledge), hexes(r.removed), membersList(r.added),
];

export const encodeRecord = (r: GroupRecord): Uint8Array =>
	rlp.list([rlp.uint(version), ...common(r), bytes(r.to), bytes(r.ticket), bytes(r.next), membersList(r.all)]);

/** Names a record by what is the same in all its letters, and by who made it. */
export const recordName = (r: GroupRecord, by: Hex): Hex => hex0x(keccak_256(rlp.list([...common(r), bytes(by)])));

/** Reads a record. Throws a ProtocolError. */
export function decodeRecord(payload: Uint8Array): GroupRecord {
	const r = open(payload, 'record', maxRecord);
	const record: GroupRecord = {
		group: fixed(r, 'group', idSize),
		name: hex0x(r.bytes('name', maxGroupName)),
		epoch: r.small('epoch', Number.MAX_SAFE_INTEGER),
		rank: r.small('rank', maxMembers - 1),
		parents: r.items('parents', maxParents, (list) => fixed(list, 'parent', hashSize)),
		secret: fixed(r, 'secret', hashSize),
		pledge: fixed(r, 'pledge', hashSize),
		removed: r.items('removed members', maxMembers, (list) => fixed(list, 'member', publicKeySize)),
		added: r.items('added members', maxMembers, readMember),
		to: fixed(r, 'receiver', publicKeySize),
		ticket: fixed(r, 'ticket', hashSize),
		next: maybe(r, 'next secret', hashSize),
		all: r.items('members', maxMembers, readMember),
	};
	if (record.epoch === 0 || (record.parents.length === 0) !== (record.epoch === 1)) {
		throw malformed(`a record of epoch ${record.epoch} with ${record.parents.length} parents`);
	}
	if (record.next !== '' && pledgeOf(record.next) !== record.pledge) {
		throw malformed('a record whose next secret is another than it says');
	}
	return record;
}

export const encodeInvitation = (i: Invitation): Uint8Array =>
	rlp.list([rlp.uint(version), bytes(i.by), rlp.uint(i.sent), rlp.string(encodeRecord(i.record))]);

/** Reads an invitation. Throws a ProtocolError. */
export function decodeInvitation(payload: Uint8Array): Invitation {
	const r = open(payload, 'invitation', maxInvitation);
	return { by: fixed(r, 'author', publicKeySize), sent: r.small('time', Number.MAX_SAFE_INTEGER), record: decodeRecord(r.bytes('record', maxRecord)) };
}

/** Tells whether a payload is an invitation, of which nothing is believed yet. */
export function isInvitation(payload: Uint8Array): boolean {
	try {
		decodeInvitation(payload);
		return true;
	} catch (error) {
		if (isProtocolError(error)) {
			return false;
		}
		throw error;
	}
}
