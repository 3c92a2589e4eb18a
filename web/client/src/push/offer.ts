import { keccak_256 } from '@noble/hashes/sha3.js';
import { text, utf8 } from '../bytes.js';
import { ProtocolError } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { type Envelope } from '../whisper/envelope.js';
import { type PrivateKey, type PublicKey } from '../whisper/keys.js';
import { openSymmetric } from '../whisper/message.js';
import { seal, type SealOptions } from '../whisper/seal.js';
import { type Topic, topicFor } from '../whisper/topic.js';
import { maxEnode, maxInfo, maxProviderName, maxProviders, maxText, protocolVersion } from './limits.js';
import { checkLength, checkVersion, encodeLimits, encodeMessage, type Limits, readLimits } from './parts.js';
import { encodeSuccessions, follow, readSuccessions, type Succession } from './succession.js';
const offerName = 'whisperpush/2/offer';

/** The discovery topic, on which servers announce themselves. */
export const offerTopic = (): Topic => topicFor(offerName);

// The key is public: it is there because a Whisper message needs one.
const offerKey = (): Uint8Array => keccak_256(utf8(offerName));

/** Tells of a provider. */
export interface ProviderOffer {
	/** For `Route.provider`. */
	readonly name: string;
	/** What an app needs to get an address, such as the VAPID key. */
	readonly info: string;
}

/** How a server announces itself: RLP [version, issued, expires, enode, providers, limits, price, successions]. */
export interface Offer {
	/** Unix seconds. */
	readonly issued: bigint;
	/** Unix seconds; do not trust the offer any longer. */
	readonly expires: bigint;
	/** Enode URL or ENR of the node to connect to. */
	readonly enode: string;
	readonly providers: readonly ProviderOffer[];
	readonly limits: Limits;
	/** A sentence; empty: free. */
	readonly price: string;
	/** Lead from the push key that signed the offer to the one that the server goes on with; see `offeredKey`. */
	readonly successions?: readonly Succession[] | undefined;
}

/** Returns the payload of an offer's message. Throws a ProtocolError for what exceeds a limit. */
export function encodeOffer(o: Offer): Uint8Array {
	const message = encodeMessage([
		rlp.uint(protocolVersion),
		rlp.uint(o.issued),
		rlp.uint(o.expires),
		rlp.string(utf8(o.enode)),
		rlp.list(o.providers.map((p) => rlp.list([rlp.string(utf8(p.name)), rlp.string(utf8(p.info))]))),
		encodeLimits(o.limits),
		rlp.string(utf8(o.price)),
		...(o.successions?.length ? [encodeSuccessions(o.successions)] : []),
	]);
	decodeOffer(message);
	return message;
}

/** Reads the payload of an offer's message. Throws a ProtocolError, `malformed`, `version` or `too-large`. */
export function decodeOffer(bytes: Uint8Array): Offer {
	checkLength(bytes, 'offer');
	const r = Reader.open(bytes, 'offer', true);
	checkVersion(r.uint('version'));
	const offer = {
		issued: r.uint('issue time'),
		expires: r.uint('expiry'),
		enode: text(r.bytes('enode', maxEnode)),
		providers: r.items('providers', maxProviders, (list) => {
			const p = list.list('provider');
			return { name: text(p.bytes('provider name', maxProviderName)), info: text(p.bytes('provider info', maxInfo)) };
		}),
		limits: readLimits(r),
		price: text(r.bytes('price', maxText)),
	};
	const successions = readSuccessions(r);
	return successions.length > 0 ? { ...offer, successions } : offer;
}

/**
 * Returns the push key that the server of an offer goes on with: that of who signed it, or the
 * one that follows it. Throws a ProtocolError, `signer`, for a succession that is not signed.
 */
export const offeredKey = (offer: Offer, signer: PublicKey): PublicKey => follow(signer, offer.successions ?? []).at(-1)?.next ?? signer;

/** Makes the envelope of an offer, which lives for `ttl` seconds. */
export async function sealOffer(
	offer: Offer,
	pushKey: PrivateKey,
	options: SealOptions & { ttl?: number; pow?: number; now?: Date } = {},
): Promise<Envelope> {
	const { ttl, pow, now } = options;
	return seal({ payload: encodeOffer(offer), topic: offerTopic(), ttl, sign: pushKey, key: offerKey(), pow, now }, options);
}

/**
 * Reads an offer and tells the push key that signed it. Anybody can make offers: that of a
 * server you know is the one signed by its key. Rejects with a ProtocolError.
 */
export async function openOffer(envelope: Envelope): Promise<{ offer: Offer; pushKey: PublicKey }> {
	const message = await openSymmetric(envelope, offerKey());
	if (!message.signer) {
		throw new ProtocolError('signer', 'offer is not signed');
	}
	return { offer: decodeOffer(message.payload), pushKey: message.signer };
}
