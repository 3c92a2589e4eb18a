import { fromHex, utf8 } from '../bytes.js';
import { type Route } from '../push/request.js';
import { parsePublicKey, type PublicKey } from '../whisper/keys.js';

/** What of a `PushSubscription` of a browser is needed. */
export interface WebPushSubscription {
	readonly endpoint: string;
	getKey(name: 'p256dh' | 'auth'): ArrayBuffer | null;
}

/**
 * Returns the route of a browser's push subscription; `provider` is the server's name for
 * it. The subscription is made with the VAPID key of the server's offer:
 *
 *     const subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
 */
export function webPushRoute(subscription: WebPushSubscription, provider = 'webpush'): Route {
	const keys = (['p256dh', 'auth'] as const).map((name) => {
		const key = subscription.getKey(name);
		if (!key) {
			throw new TypeError(`the push subscription has no key ${name}`);
		}
		return new Uint8Array(key);
	});
	return { provider, address: utf8(subscription.endpoint), keys };
}

/** Returns a route whose address is a token or URL. */
export const tokenRoute = (provider: string, address: string): Route => ({ provider, address: utf8(address), keys: [] });

/** Returns the public key of a node from its enode URL, to which requests for mail are encrypted. Throws a ProtocolError, `malformed`. */
export function nodeKeyOf(enode: string): PublicKey {
	const digits = /^enode:\/\/([0-9a-fA-F]{128})@/.exec(enode)?.[1];
	return parsePublicKey(fromHex(digits === undefined ? '' : '04' + digits));
}
