// What several messages have in common.
import { text, utf8 } from '../bytes.js';
import { malformed, ProtocolError, tooLarge } from '../errors.js';
import { type Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { type Topic, topicSize } from '../whisper/topic.js';
import { hashSize, maxChannels, maxHolder, maxPushPayload, protocolVersion } from './limits.js';

/** When a channel wakes the device. */
export const Mode = {
	/** For every envelope. */
	every: 0,
	/** Only for a Notify that mentions the receiver. */
	mentions: 1,
	/** For nothing. */
	muted: 2,
	/** In a change of channels only: the channel ends. */
	removed: 3,
} as const;
export type Mode = (typeof Mode)[keyof typeof Mode];

/** A topic that a registration listens to. */
export interface Channel {
	readonly topic: Topic;
	readonly mode: Mode;
	/** Silences the channel up to a time, Unix seconds, whatever its mode; 0: it does not. */
	readonly mutedUntil: bigint;
}

export const encodeChannels = (channels: readonly Channel[]): Uint8Array =>
	rlp.list(channels.map((c) => rlp.list([rlp.string(c.topic), rlp.uint(c.mode), rlp.uint(c.mutedUntil)])));

export function readChannels(reader: Reader, last: Mode): Channel[] {
	const seen = new Set<string>();
	return reader.items('channels', maxChannels, (list) => {
		const r = list.list('channel');
		const topic = r.fixed('topic', topicSize);
		const mode = r.small('mode', last) as Mode;
		const mutedUntil = r.uint('muted until');
		const name = topic.join();
		if (seen.has(name)) {
			throw malformed('a topic comes twice');
		}
		seen.add(name);
		return { topic, mode, mutedUntil };
	});
}

export const encodeHolders = (holders: readonly string[]): Uint8Array => rlp.list(holders.map((h) => rlp.string(utf8(h))));

export const readHolders = (reader: Reader, most: number): string[] =>
	reader.items('revoked holders', most, (r) => text(r.bytes('holder', maxHolder)));

export const encodeHashes = (hashes: readonly Uint8Array[]): Uint8Array => rlp.list(hashes.map(rlp.string));

export const readHashes = (reader: Reader, most: number): Uint8Array[] =>
	reader.items('hashes', most, (r) => r.fixed('hash', hashSize));

/** What a server allows. */
export interface Limits {
	/** Routes of a registration. */
	readonly routes: bigint;
	/** Channels of a registration. */
	readonly channels: bigint;
	/** The longest lifetime in seconds. */
	readonly lifetime: bigint;
	/** Hashes in one Fetch or Seen. */
	readonly fetch: bigint;
	/** The least proof of work of a request's envelope. */
	readonly pow: number;
	/** The plain form is refused: a Register needs a seal key. Undefined: it is not. */
	readonly sealed?: true | undefined;
}

export function encodeLimits(l: Limits): Uint8Array {
	const view = new DataView(new ArrayBuffer(8));
	view.setFloat64(0, l.pow);
	return rlp.list([...[l.routes, l.channels, l.lifetime, l.fetch, view.getBigUint64(0)].map(rlp.uint), ...(l.sealed ? [rlp.uint(1)] : [])]);
}

export function readLimits(reader: Reader): Limits {
	const r = reader.list('limits');
	const [routes, channels, lifetime, fetch] = [r.uint('routes'), r.uint('channels'), r.uint('lifetime'), r.uint('fetch')];
	const view = new DataView(new ArrayBuffer(8));
	view.setBigUint64(0, r.uint('proof of work'));
	const pow = view.getFloat64(0);
	if (!(pow >= 0) || pow === Infinity) {
		throw malformed('proof of work is no number');
	}
	return { routes, channels, lifetime, fetch, pow, ...(r.bool('sealed') ? { sealed: true as const } : {}) };
}

/** Returns the list of some elements, if it fits a message. */
export function encodeMessage(elements: readonly Uint8Array[]): Uint8Array {
	const message = rlp.list(elements);
	if (message.length > maxPushPayload) {
		throw tooLarge(`${message.length} bytes encoded, at most ${maxPushPayload}`);
	}
	return message;
}

/** Refuses what is longer than any message, before it is looked at. */
export function checkLength(bytes: Uint8Array, what: string): void {
	if (bytes.length > maxPushPayload) {
		throw tooLarge(`${what} of ${bytes.length} bytes, at most ${maxPushPayload}`);
	}
}

/** Refuses another version of the protocol. */
export function checkVersion(version: bigint): void {
	if (version !== BigInt(protocolVersion)) {
		throw new ProtocolError('version', `protocol version ${version} is not supported, only ${protocolVersion}`);
	}
}
