import { keccak_256 } from '@noble/hashes/sha3.js';
import { concat, equal, hex, hex0x, text, utf8 } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { type Channel, Mode } from '../push/parts.js';
import { type Envelope } from '../whisper/envelope.js';
import { keyFromPassword, passwordKey, type PrivateKey, publicKeyOf, type SymmetricKey } from '../whisper/keys.js';
import { type Message, openAsymmetric, openSymmetric } from '../whisper/message.js';
import { formatTopic, type Topic, topicFor } from '../whisper/topic.js';
import { type Profile, profileOf, sentBy } from './compose.js';

/** One thing the device listens to. It has either `key` or `identity`. */
export interface Chat {
	/** What a preview calls it. */
	readonly name: string;
	/** Of its envelopes. */
	readonly topic: Topic;
	/** The symmetric key of its members. */
	readonly key?: SymmetricKey | undefined;
	/** The key that its messages are encrypted to. */
	readonly identity?: PrivateKey | undefined;
	/** When it wakes the device; undefined: for every envelope. */
	readonly mode?: Mode | undefined;
	/** Silent up to then. */
	readonly mutedUntil?: Date | undefined;
	/** What {@link chatId} returned of the key, where `key` cannot be read out; undefined: it is not known. */
	readonly id?: string | undefined;
	/** The server is not told of the topic: nothing there wakes the device, and what comes there the history brings. */
	readonly unlisted?: boolean | undefined;
}

/**
 * Names a chat among all others, also those of the same topic, and is the same for everybody who has its
 * key: the topic, and 8 bytes of the Keccak-256 of what opens the chat, such as
 * 0x5a4ea131.1f2e3d4c5b6a7988. Throws a TypeError for a chat with a key that cannot be read out and without an `id`.
 */
export function chatId(chat: Pick<Chat, 'name' | 'topic' | 'key' | 'identity' | 'id'>): string {
	const id = idOf(chat);
	if (id === undefined) {
		throw new TypeError(`the key of chat "${chat.name}" cannot be read out: give the chat the id that chatId returned before`);
	}
	return id;
}

function idOf({ topic, key, identity, id }: Pick<Chat, 'topic' | 'key' | 'identity' | 'id'>): string | undefined {
	const opener = identity ? publicKeyOf(identity) : key instanceof Uint8Array ? key : undefined;
	if (!opener) {
		return id;
	}
	const sum = keccak_256(concat(utf8('whisperpush/2 chat'), topic, opener));
	return `${formatTopic(topic)}.${hex(sum.subarray(0, chatTagSize))}`;
}

const chatTagSize = 8;

/**
 * Makes a chat whose members share a password, on the topic of its name unless another is
 * given. No script can read its key, which may be kept in IndexedDB.
 */
export const passwordChat = async (name: string, password: string, topic: Topic = topicFor(name)): Promise<Chat> => ({
	name,
	topic,
	key: await passwordKey(password),
	id: chatId({ name, topic, key: await keyFromPassword(password) }),
});

/** What a notification shows. */
export interface Preview {
	/** The name of the chat. */
	readonly chat: string;
	/** The topic of the chat, in hexadecimal with 0x. */
	readonly topic: string;
	/** Which chat it is, see {@link chatId}; undefined: it has a key that cannot be read out, and no id. */
	readonly chatId: string | undefined;
	/** Who signed the message: a compressed public key in hexadecimal with 0x; undefined: nobody did. */
	readonly sender: string | undefined;
	/** The message as sent. */
	readonly payload: Uint8Array;
	/** The message for people: without control characters, at most {@link previewLength} characters. */
	readonly text: string;
	/**
	 * When the message was sent, by its author's signature ({@link compose}). If `claimed`, it
	 * is by the word of whoever put the envelope on the network, to the second: that may be
	 * somebody who put a message of others there once more.
	 */
	readonly sent: Date;
	readonly claimed: boolean;
	/** What the author says of themselves; undefined: nothing. */
	readonly profile: Profile | undefined;
	/**
	 * Names the envelope, and so the notification, in hexadecimal with 0x. A message that
	 * comes in several envelopes keeps the hash of the first.
	 */
	readonly hash: string;
	/** It was read on another of the user's devices; see `DeviceConfig.complete`. */
	readonly read: boolean;
	/** Names what was encrypted, whatever envelope it comes in; in hexadecimal with 0x. */
	readonly message: string;
	/** An address for the tap on a notification to open the right message, such as whisper:0x5a4ea131/0x8f…. */
	readonly link: string;
}

/** The longest text of a preview, in characters. */
export const previewLength = 240;

/** Refuses chats that cannot be opened. */
export function checkChats(chats: readonly Chat[]): void {
	for (const { name, key, identity } of chats) {
		if ((key === undefined) === (identity === undefined)) {
			throw new TypeError(`chat "${name}" needs a symmetric key or an identity, and not both`);
		}
	}
}

/** Opens an envelope with the chats of its topic. Undefined if none of them can: another conversation may use the topic too. */
export async function openWith(chats: readonly Chat[], envelope: Envelope): Promise<Preview | undefined> {
	for (const chat of chats) {
		if (!equal(chat.topic, envelope.topic)) {
			continue;
		}
		let m: Message;
		try {
			m = chat.identity ? await openAsymmetric(envelope, chat.identity) : await openSymmetric(envelope, chat.key!);
		} catch (error) {
			if (isProtocolError(error)) {
				continue;
			}
			throw error;
		}
		return previewOf(chat, envelope, m, envelope.hash);
	}
	return undefined;
}

function previewOf(chat: Chat, envelope: Envelope, m: Message, hash: Uint8Array): Preview {
	const topic = formatTopic(chat.topic);
	const sent = sentBy(m);
	return {
		chat: chat.name,
		topic,
		chatId: idOf(chat),
		read: false,
		sender: m.signer && hex0x(m.signer),
		// A copy, so that the preview does not keep the whole answer it came in.
		payload: m.payload.slice(),
		text: printable(m.payload),
		sent: sent ?? new Date(envelope.sent * 1000),
		claimed: sent === undefined,
		profile: profileOf(m),
		hash: hex0x(hash),
		message: hex0x(envelope.message()),
		link: `whisper:${topic}/${hex0x(hash)}`,
	};
}

/** Returns the preview under another hash. */
export const renamed = (p: Preview, hash: string): Preview => ({ ...p, hash, link: `whisper:${p.topic}/${hash}` });

/** Keeps what a notification can show without being deceived: no control characters, none that turn the direction of text. */
export function printable(payload: Uint8Array): string {
	const characters = [...text(payload.subarray(0, 4 * previewLength))]
		.map((c) => (c === '\n' || c === '\t' ? ' ' : c))
		.filter((c) => !/[\p{Cc}\p{Bidi_Control}]/u.test(c));
	return characters.length > previewLength ? characters.slice(0, previewLength).join('') + '…' : characters.join('');
}

/** The topics of chats, each once. */
export function topicsOf(chats: readonly Chat[]): Topic[] {
	return chats.map((c) => c.topic).filter((topic, i, all) => all.findIndex((other) => equal(other, topic)) === i);
}

/** The topics of chats as the server has them. Chats that share one are one channel, with the mode that wakes most. */
export function channelsOf(chats: readonly Chat[]): Channel[] {
	const channels = new Map<string, Channel>();
	for (const { topic, mode = Mode.every, mutedUntil, unlisted } of chats) {
		if (unlisted) {
			continue;
		}
		const channel = { topic, mode, mutedUntil: mutedUntil ? BigInt(Math.floor(mutedUntil.getTime() / 1000)) : 0n };
		const before = channels.get(topic.join());
		if (!before || mode < before.mode || (mode === before.mode && channel.mutedUntil < before.mutedUntil)) {
			channels.set(topic.join(), channel);
		}
	}
	return [...channels.values()];
}

/** What turns some channels into others. Topics of which it is not known how the server has them are told again. */
export function difference(from: readonly Channel[], to: readonly Channel[], unsure: readonly Topic[]): Channel[] {
	const doubted = new Set(unsure.map((t) => t.join()));
	const name = (c: Channel): string => `${c.topic.join()} ${c.mode} ${c.mutedUntil}`;
	const same = new Set(from.filter((c) => !doubted.has(c.topic.join())).map(name));
	const stay = new Set(to.map((c) => c.topic.join()));
	const changes = to.filter((c) => !same.has(name(c)));
	for (const topic of [...from.map((c) => c.topic), ...unsure]) {
		if (!stay.has(topic.join())) {
			stay.add(topic.join()); // once
			changes.push({ topic, mode: Mode.removed, mutedUntil: 0n });
		}
	}
	return changes;
}
