// What is derived from an epoch's secret, see docs/protocol.md, section 13.
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concat, fromHex, hex0x, utf8 } from '../bytes.js';
import { type Topic, topicSize } from '../whisper/topic.js';

/** Bytes in lower-case hexadecimal with 0x: keys, hashes and secrets, which are compared and kept. */
export type Hex = string;

/** A topic, and the key of what is sent there. */
export interface Place {
	readonly topic: Topic;
	readonly key: Uint8Array;
}

const derive = (from: Hex, label: string, ...more: Uint8Array[]): Uint8Array => hmac(sha256, fromHex(from), concat(utf8('whisperpush/2 group ' + label), ...more));

const placeOf = (from: Hex, label: string): Place => ({ topic: derive(from, 'topic').slice(0, topicSize), key: derive(from, label) });

/** Where the messages of an epoch go. */
export const messagesPlace = (secret: Hex): Place => placeOf(secret, 'messages');

/** A member's ticket in an epoch. */
export const ticketOf = (secret: Hex, member: Hex): Hex => hex0x(derive(secret, 'ticket', fromHex(member)));

/** Where the member with a ticket is rung. */
export const ringPlace = (ticket: Hex): Place => placeOf(ticket, 'ring');

/** What is told of a secret before it is used. */
export const pledgeOf = (secret: Hex): Hex => hex0x(derive(secret, 'pledge'));

/** Names a message of a group, in whatever envelope it comes. Nobody can make one that is called as another's. */
export const messageName = (group: Hex, author: Hex, id: Hex): Hex =>
	hex0x(keccak_256(concat(utf8('whisperpush/2 group message'), fromHex(group), fromHex(author), fromHex(id))));
