import { equal } from '../bytes.js';
import { ProtocolError, tooLarge } from '../errors.js';
import { type Envelope } from '../whisper/envelope.js';
import { type PrivateKey, type PublicKey, publicKeyOf } from '../whisper/keys.js';
import { type Message, openAsymmetric } from '../whisper/message.js';
import { seal, type SealOptions } from '../whisper/seal.js';
import { type Topic, topicFor } from '../whisper/topic.js';
import { defaultPow, maxData, pushPadding } from './limits.js';
import { decodeReply, encodeReply, type Reply } from './reply.js';
import { decodeRequest, encodeRequest, isFor, type Request } from './request.js';

/** The well-known topic of requests and replies. */
export const pushTopic = (): Topic => topicFor('whisperpush/2');

/** How a request is sealed. */
export interface SealRequestOptions extends SealOptions {
	/** The proof of work of the envelope; undefined: {@link defaultPow}. */
	readonly pow?: number | undefined;
	/** The time of the envelope; undefined: now. */
	readonly now?: Date | undefined;
}

/**
 * Signs a request with the registration key and encrypts it to the server's push key,
 * for the server alone. It works until the envelope has its proof of work.
 */
export async function sealRequest(
	request: Request,
	registrationKey: PrivateKey,
	pushKey: PublicKey,
	options: SealRequestOptions = {},
): Promise<Envelope> {
	const payload = encodeRequest({ ...request, server: pushKey });
	return sealTo(payload, registrationKey, pushKey, { ...options, pow: options.pow ?? defaultPow });
}

/**
 * Decrypts a request with the server's push key, and tells who signed it. Rejects with a
 * ProtocolError: `cannot-open` or `signer`, when there is nobody to answer, and else one
 * of `decodeRequest`, or `server` for a request that names another server.
 */
export async function openRequest(envelope: Envelope, pushKey: PrivateKey): Promise<{ request: Request; signer: PublicKey }> {
	const { payload, signer } = await open(envelope, pushKey);
	const request = decodeRequest(payload);
	if (!isFor(request, publicKeyOf(pushKey))) {
		throw new ProtocolError('server', 'request is made for another server', { requestId: request.id });
	}
	return { request, signer };
}

/** Signs a reply with the push key and encrypts it to the key that signed the request. */
export async function sealReply(
	reply: Reply,
	pushKey: PrivateKey,
	registrationKey: PublicKey,
	options: SealRequestOptions = {},
): Promise<Envelope> {
	return sealTo(encodeReply({ ...reply, to: registrationKey }), pushKey, registrationKey, options);
}

/**
 * Decrypts a reply with the registration key. Rejects with a ProtocolError, `signer`
 * unless the push key signed it, `receiver` if it is for another account, and else
 * `cannot-open` or one of `decodeReply`.
 */
export async function openReply(envelope: Envelope, registrationKey: PrivateKey, pushKey: PublicKey): Promise<Reply> {
	const { payload, signer } = await open(envelope, registrationKey);
	if (!equal(signer, pushKey)) {
		throw new ProtocolError('signer', 'reply is not signed by the push key');
	}
	const reply = decodeReply(payload);
	if (reply.to.length > 0 && !equal(reply.to, publicKeyOf(registrationKey))) {
		throw new ProtocolError('receiver', 'reply is for another account');
	}
	return reply;
}

const sealTo = (payload: Uint8Array, sign: PrivateKey, to: PublicKey, options: SealRequestOptions): Promise<Envelope> =>
	seal({ payload, padding: pushPadding(payload.length), topic: pushTopic(), sign, to, pow: options.pow, now: options.now }, options);

async function open(envelope: Envelope, key: PrivateKey): Promise<Message & { signer: PublicKey }> {
	if (envelope.data.length > maxData) {
		throw tooLarge(`envelope with ${envelope.data.length} bytes of data, at most ${maxData}`);
	}
	const message = await openAsymmetric(envelope, key);
	if (!message.signer) {
		throw new ProtocolError('signer', 'message is not signed');
	}
	return { ...message, signer: message.signer };
}

