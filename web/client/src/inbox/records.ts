import { type Sealed } from '../whisper/seal.js';

/** Orders changes of one thing that were made on several devices: Unix milliseconds, and the device. */
export interface Stamp {
	readonly at: number;
	readonly device: bigint;
}

/** What the platform has of a message's notification. */
export const Display = { not: 0, maybe: 1, displayed: 2 } as const;
export type Display = (typeof Display)[keyof typeof Display];

/** A message that came, or was sent from here. Hashes are hexadecimal with 0x, as everywhere in an inbox. */
export interface MessageRecord {
	readonly kind: 'message';
	readonly hash: string;
	readonly message: string;
	readonly chat: string;
	/** Compressed key; empty: not signed. */
	readonly sender: string;
	/** Undefined: it was too long to be kept. */
	readonly payload: Uint8Array | undefined;
	readonly text: string;
	/** Unix milliseconds. */
	readonly sent: number;
	/** Unix milliseconds. */
	readonly came: number;
	readonly claimed: boolean;
	readonly own: boolean;
	readonly read: boolean;
	/** The user was told of it, or it came when they wanted to hear of nothing. */
	readonly known: boolean;
	readonly display: Display;
	readonly copies: readonly string[];
}

/** Silences a chat, until 0: not any more. */
export interface MuteRecord {
	readonly kind: 'mute';
	readonly chat: string;
	/** Unix seconds. */
	readonly until: number;
	readonly stamp: Stamp;
	readonly here: boolean;
}

/** Blocks a sender. */
export interface BlockRecord {
	readonly kind: 'block';
	readonly sender: string;
	readonly on: boolean;
	readonly stamp: Stamp;
	readonly here: boolean;
}

/** A message that is to be sent. */
export interface DraftRecord {
	readonly kind: 'draft';
	readonly id: string;
	readonly chat: string;
	/** Compressed key that it is encrypted to; empty: the chat's. */
	readonly to: string;
	readonly payload: Uint8Array;
	/** Unix milliseconds. */
	readonly written: number;
}

/** The sets of marks. */
export type MarkSet = 'gone' | 'early' | 'actions' | 'sync';

/** One change of an inbox. Applying it again changes nothing more. It is plain data, which a journal keeps. */
export type InboxRecord =
	/** What follows makes the inbox anew. */
	| { readonly kind: 'begin' }
	/** Names the device among the user's own, by a random number. */
	| { readonly kind: 'device'; readonly id: bigint }
	| MessageRecord
	/** Messages were read; `here`: the other devices are to know. */
	| { readonly kind: 'read'; readonly hashes: readonly string[]; readonly here: boolean }
	/** Messages were read elsewhere, whatever envelope they come in. */
	| { readonly kind: 'readMessages'; readonly marks: readonly string[] }
	| { readonly kind: 'gone'; readonly hashes: readonly string[] }
	| { readonly kind: 'display'; readonly hashes: readonly string[]; readonly state: Display }
	| MuteRecord
	| BlockRecord
	/** The server knows that envelopes were read. */
	| { readonly kind: 'told'; readonly hashes: readonly string[] }
	/** The other devices can read what is named here. */
	| { readonly kind: 'synced'; readonly marks: readonly string[]; readonly stamps: readonly Stamp[] }
	/** An envelope that waits for its key. */
	| { readonly kind: 'unopened'; readonly came: number; readonly raw: Uint8Array }
	| { readonly kind: 'opened'; readonly hash: string }
	| { readonly kind: 'action'; readonly id: string }
	| DraftRecord
	/** A draft, encrypted: from now on it is this message. */
	| { readonly kind: 'sealed'; readonly id: string; readonly sealed: Sealed }
	/** The server has it, or why it never will. */
	| { readonly kind: 'posted'; readonly id: string; readonly failure: string }
	/** Another envelope of a message. */
	| { readonly kind: 'copy'; readonly hash: string; readonly message: string }
	| { readonly kind: 'marks'; readonly set: MarkSet; readonly marks: readonly string[] }
	| { readonly kind: 'counts'; readonly unopened: number; readonly dropped: number; readonly evicted: number }
	/** The server was told of the chats' modes, or is to be. */
	| { readonly kind: 'channels'; readonly told: boolean }
	/** The server is to be told of these. */
	| { readonly kind: 'owed'; readonly hashes: readonly string[] };

/** What stands for a hash, or for a message: its first eight bytes. To make a message that has a given mark takes 2^64 attempts. */
export const markOf = (hash: string): string => hash.slice(0, 18);

export const stampName = ({ at, device }: Stamp): string => `${at} ${device}`;
export const isAfter = (a: Stamp, b: Stamp): boolean => a.at > b.at || (a.at === b.at && a.device > b.device);
