// The Whisper messages of web/vectors, as web/vectors/whisper_test.go has them.
import { hex0x, utf8 } from '../src/bytes.js';
import {
	type Draft,
	formatTopic,
	newPrivateKey,
	openAsymmetric,
	openSymmetric,
	publicKeyOf,
	seal,
	topicFor,
} from '../src/whisper/index.js';
import { filled } from './support.js';

/** A message, and the envelope that one side put it into. */
export interface MessageVector {
	name: string;
	key?: string;
	private?: string;
	payload: string;
	padding: string;
	signer?: string;
	topic: string;
	ttl: number;
	sent: number;
	target: number;
	nonce: string;
	pow: number;
	raw: string;
	hash: string;
	message: string;
}

export interface WhisperVectors {
	messages: MessageVector[];
}

const sent = new Date(1_800_000_000_000);
const symmetric = filled(32, 0x44);
const receiver = filled(32, 0x55);
const none = filled(4, 0);

const drafts = (): Record<string, Draft> => {
	const to = publicKeyOf(receiver);
	const sign = newPrivateKey();
	return {
		'symmetric, empty': { key: symmetric, payload: utf8(''), topic: none },
		'symmetric, signed': { key: symmetric, payload: utf8('Dinner is at seven. 🍝'), sign, topic: topicFor('family') },
		'symmetric, no padding': { key: symmetric, payload: filled(300, 1), padding: utf8(''), topic: none },
		'symmetric, own padding': { key: symmetric, payload: filled(1, 0x80), padding: utf8('padding'), sign, topic: none },
		'symmetric, 255 bytes': { key: symmetric, payload: filled(255, 2), topic: none },
		'symmetric, 256 bytes': { key: symmetric, payload: filled(256, 3), sign, topic: none },
		'symmetric, 65536 bytes': { key: symmetric, payload: filled(65536, 4), padding: utf8(''), topic: none },
		'symmetric, worked for': { key: symmetric, payload: utf8('worked for'), pow: 0.2, topic: none },
		'symmetric, much worked for': { key: symmetric, payload: utf8('hard'), pow: 3, ttl: 10, topic: none },
		'asymmetric, empty': { to, payload: utf8(''), topic: none },
		'asymmetric, signed': { to, payload: utf8('for you alone'), sign, topic: Uint8Array.of(1, 2, 3, 4), pow: 0.1 },
		'asymmetric, one second': { to, payload: filled(1, 0), ttl: 1, pow: 5, topic: none },
		'asymmetric, a day': { to, payload: utf8('later'), ttl: 86400, topic: filled(4, 0xff) },
	};
};

export async function whisperVectors(): Promise<WhisperVectors> {
	const messages: MessageVector[] = [];
	for (const [name, draft] of Object.entries(drafts())) {
		const envelope = await seal({ ...draft, now: sent });
		const m = draft.to ? await openAsymmetric(envelope, receiver) : await openSymmetric(envelope, symmetric);
		messages.push({
			name,
			...(draft.to ? { private: hex0x(receiver) } : { key: hex0x(symmetric) }),
			payload: hex0x(draft.payload),
			padding: hex0x(m.padding),
			...(draft.sign && { signer: hex0x(publicKeyOf(draft.sign)) }),
			topic: formatTopic(draft.topic),
			ttl: envelope.ttl,
			sent: sent.getTime() / 1000,
			target: draft.pow ?? 0,
			nonce: envelope.nonce.toString(),
			pow: envelope.pow(sent),
			raw: hex0x(envelope.raw),
			hash: hex0x(envelope.hash),
			message: hex0x(envelope.message()),
		});
	}
	return { messages };
}
