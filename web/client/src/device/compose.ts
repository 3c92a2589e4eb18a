import { keccak_256 } from '@noble/hashes/sha3.js';
import { bigEndian, concat, equal, random, readBigEndian, text, utf8 } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { maxPayload, type Message } from '../whisper/message.js';
import { type Draft } from '../whisper/seal.js';
import { type Topic, topicSize } from '../whisper/topic.js';

// A message tells when it was sent in its padding, which is encrypted and signed with it
// and which other programs do not look at. Behind that it may tell who its author is:
//
//	mark 8 ‖ Unix milliseconds 8, big-endian ‖ [mark 8 ‖ RLP [name, topic], …] ‖ random
const markSize = 8;
const stampSize = markSize + 8;
const mark = (name: string): Uint8Array => keccak_256(utf8(name)).slice(0, markSize);
const stampMark = mark('whisperpush/2 sent');
const profileMark = mark('whisperpush/2 profile');

const paddedTo = 256;
const signatureSize = 65;
/** The latest time that an envelope can tell, in milliseconds. */
const maxTime = 0xffffffff * 1000;

/** The longest name that somebody may give themselves, in bytes. */
export const maxName = 64;

/** What an author says of themselves. It is their word; what is sure of them is the key they sign with. */
export interface Profile {
	/** At most {@link maxName} bytes; empty: they do not say. */
	readonly name: string;
	/** Where messages that are encrypted to their key reach them; undefined: they do not say. */
	readonly topic: Topic | undefined;
}

/**
 * Returns a draft that tells, encrypted and signed with the message, when it was sent, which
 * whoever copies the envelope cannot change, and what its author says of themselves. Without
 * `sign` it tells neither, as any member could have written it.
 */
export function compose(draft: Draft, sent: Date, profile?: Profile): Draft {
	const { payload, sign } = draft;
	if (!sign) {
		return { ...draft, now: sent };
	}
	const stamp = concat(stampMark, bigEndian(BigInt(sent.getTime()), 8), profile ? encodeProfile(profile) : new Uint8Array(0));
	const digits = payload.length < 1 << 8 ? 1 : payload.length < 1 << 16 ? 2 : 3;
	const bare = 1 + digits + Math.min(payload.length, maxPayload) + signatureSize;
	let size = paddedTo - (bare % paddedTo);
	while (size < stamp.length) {
		size += paddedTo;
	}
	return { ...draft, now: sent, padding: concat(stamp, random(size - stamp.length)) };
}

function encodeProfile({ name, topic }: Profile): Uint8Array {
	const bytes = utf8(name);
	if (bytes.length > maxName) {
		throw new RangeError(`name of ${bytes.length} bytes, at most ${maxName}`);
	}
	return concat(profileMark, rlp.list([rlp.string(bytes), rlp.string(topic ?? new Uint8Array(0))]));
}

/** When the author says that they sent a message; undefined: they do not, or not with their signature. */
export function sentBy(m: Pick<Message, 'padding' | 'signer'>): Date | undefined {
	if (!m.signer || m.padding.length < stampSize || !equal(m.padding.subarray(0, markSize), stampMark)) {
		return undefined;
	}
	const milliseconds = readBigEndian(m.padding.subarray(markSize, stampSize));
	return milliseconds > BigInt(maxTime) ? undefined : new Date(Number(milliseconds));
}

/** What the author of a message says of themselves; undefined: nothing, or not with their signature. */
export function profileOf(m: Pick<Message, 'padding' | 'signer'>): Profile | undefined {
	const rest = m.padding.subarray(stampSize);
	if (!sentBy(m) || rest.length < markSize || !equal(rest.subarray(0, markSize), profileMark)) {
		return undefined;
	}
	try {
		const r = new Reader(rlp.splitList(rest.subarray(markSize), 'profile').content, false);
		const name = text(r.bytes('name', maxName));
		const topic = r.maybe('topic', topicSize);
		return { name, topic: topic.length > 0 ? topic.slice() : undefined };
	} catch (error) {
		if (isProtocolError(error)) {
			return undefined;
		}
		throw error;
	}
}
