// A server: what it offers, and where it is.
import { type Candidate, DoorTransport, hexOf, type Offer, providerInfo } from './client.js';

/** The server, as it was met for the first time. Another key at the same address is another server. */
export interface Server {
	readonly pushKey: Uint8Array;
	readonly nodeKey: Uint8Array;
	readonly vapid: string;
	readonly direct: boolean;
	/** Of its door; undefined: that of this page. */
	readonly origin?: string;
	/**
	 * Of the service worker that its pushes come to; undefined: that of the page. A service worker has
	 * one push subscription, for one server, and while the app moves it has two servers.
	 */
	readonly scope?: string;
}

/** A server by its signed offer. */
export interface MetServer {
	readonly server: Server;
	readonly offer: Offer;
	/** From asking to the answer, the shortest of three times, in milliseconds. */
	readonly roundTrip: number;
}

/** How often a server is asked, to tell how long it takes. */
const askedTimes = 3;

/** How long a server may take to say what it offers, in milliseconds. */
const offerPatience = 10_000;

/** Reads the offer of the server at an address. Its signature, and that it holds now, are checked. */
export async function meetServer(origin: string, now: Date): Promise<MetServer> {
	const transport = new DoorTransport(origin);
	const { pushKey, nodeKey, offer } = await transport.offer({ now, signal: AbortSignal.timeout(offerPatience) });
	if (!nodeKey) {
		throw new Error('the server names its node in a way that this app does not know');
	}
	return { server: serverOf({ pushKey, nodeKey, offer, origin }), offer, roundTrip: 0 };
}

/** What the app keeps of a server that it uses. */
export function serverOf({ pushKey, nodeKey, offer, origin }: Pick<Candidate, 'pushKey' | 'nodeKey' | 'offer' | 'origin'>): Server {
	const vapid = providerInfo(offer, 'webpush') ?? '';
	const here = origin === globalThis.location.origin;
	return {
		pushKey, nodeKey: nodeKey!, vapid, direct: providerInfo(offer, 'direct') !== undefined, ...(here ? {} : { origin, scope: `/at/${hexOf(pushKey).slice(0, 16)}/` }),
	};
}

/** The same, with how long it takes to answer. */
export async function measureServer(origin: string, now: Date): Promise<MetServer> {
	let roundTrip = Infinity;
	let met: MetServer | undefined;
	for (let i = 0; i < askedTimes; i++) {
		const began = performance.now();
		met = await meetServer(origin, now);
		roundTrip = Math.min(roundTrip, performance.now() - began);
	}
	return { ...met!, roundTrip };
}

export const isSameServer = (a: Pick<Server, 'pushKey'>, b: Pick<Server, 'pushKey'>): boolean => hexOf(a.pushKey) === hexOf(b.pushKey);

/** The origin that a person means who writes an address. Only over TLS are servers elsewhere reached: the page's policy has it so. */
export function originOf(address: string): string {
	const text = address.trim();
	let url: URL;
	try {
		url = new URL(/^[a-z]+:\/\//i.test(text) ? text : 'https://' + text);
	} catch {
		throw new Error('this is no address of a server: one is like https://mail.example.org');
	}
	if (url.protocol !== 'https:' && url.origin !== globalThis.location.origin) {
		throw new Error('the address must begin with https://: to a server elsewhere this app talks in no other way');
	}
	return url.origin;
}

const kinds: Record<string, string> = {
	webpush: 'by the push service of the browser', direct: 'over a stream, while a window is open', fcm: 'by Firebase', apns: 'by Apple',
};

/** What an offer says, in words. */
export function describe({ server, offer, roundTrip }: Omit<MetServer, 'server'> & { readonly server: Pick<Server, 'pushKey'> }, origin: string): [string, string][] {
	const days = (seconds: bigint): string => `${Number(seconds) / 86400 >= 2 ? `${Math.floor(Number(seconds) / 86400)} days` : `${Math.floor(Number(seconds) / 3600)} hours`}`;
	const { limits } = offer;
	return [
		['Address', origin],
		['Key', '0x' + hexOf(server.pushKey)],
		['Wakes', offer.providers.map((p) => kinds[p.name] ?? p.name).join('; ') || 'nobody'],
		['Limits', `${limits.channels} chats; a registration lasts ${days(limits.lifetime)}; ${limits.routes} ways to wake`],
		['Price', offer.price || 'free'],
		['Answers within', roundTrip > 0 ? `${Math.max(1, Math.round(roundTrip))} ms` : 'not asked yet'],
		['Offer holds until', new Date(Number(offer.expires) * 1000).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })],
	];
}
