import { malformed } from '../errors.js';
import { type Offer, offeredKey, openOffer } from '../push/offer.js';
import { type Envelope } from '../whisper/envelope.js';
import { type PublicKey } from '../whisper/keys.js';
import { nodeKeyOf } from './routes.js';

/** How far in the future an offer may be issued, in seconds. */
const maxOfferSkew = 300;

/** A mailserver with push that announced itself. */
export interface DiscoveredServer {
	readonly offer: Offer;
	/** Who signed the offer, or the key that they go on with, and therefore the account's server: for `DeviceConfig.pushKey`. */
	readonly pushKey: PublicKey;
	/** The key of its node, for `DeviceConfig.mail`; undefined: the offer names its node by a record, not by a URL. */
	readonly nodeKey: PublicKey | undefined;
}

/**
 * Reads the offer of a server, and checks what can be checked of it: that its push key
 * signed it, that it holds now, and that it names a node. Nothing vouches for the server
 * behind it: whoever runs it sees when the device is woken, so let people choose whom they
 * trust. Rejects with a ProtocolError.
 */
export async function readOffer(envelope: Envelope, now: Date = new Date()): Promise<DiscoveredServer> {
	const { offer, pushKey: signer } = await openOffer(envelope);
	const pushKey = offeredKey(offer, signer);
	const seconds = BigInt(Math.floor(now.getTime() / 1000));
	if (seconds >= offer.expires) {
		throw malformed('offer has expired');
	}
	if (offer.issued > seconds + BigInt(maxOfferSkew)) {
		throw malformed('offer is of the future');
	}
	if (offer.enode.startsWith('enr:')) {
		return { offer, pushKey, nodeKey: undefined };
	}
	return { offer, pushKey, nodeKey: nodeKeyOf(offer.enode) };
}

/** What an offer says about a provider, such as the VAPID key of `webpush`; undefined: the server does not have it. */
export const providerInfo = (offer: Offer, provider: string): string | undefined =>
	offer.providers.find((p) => p.name === provider)?.info;

/**
 * Returns a VAPID key as `PushManager.subscribe` takes it for `applicationServerKey`. Throws
 * a ProtocolError, `malformed`, unless it is a point of P-256 in base64url, as servers tell
 * it.
 */
export function applicationServerKey(vapidKey: string): Uint8Array {
	if (!/^[A-Za-z0-9_-]{87}$/.test(vapidKey)) {
		throw malformed('VAPID key is not 65 bytes in base64url');
	}
	const binary = atob(vapidKey.replace(/-/g, '+').replace(/_/g, '/') + '=');
	const key = Uint8Array.from(binary, (c) => c.charCodeAt(0));
	if (key[0] !== 4) {
		throw malformed('VAPID key is not an uncompressed point');
	}
	return key;
}
