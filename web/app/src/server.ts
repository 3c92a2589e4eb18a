// The server: what it offers, whether it is the one that has the account, and how the person leaves it.
import { DoorTransport, hexOf, type Offer, providerInfo } from './client.js';

/** The server, as it was met for the first time. Another key at the same address is another server. */
export interface Server {
	readonly pushKey: Uint8Array;
	readonly nodeKey: Uint8Array;
	readonly vapid: string;
	readonly direct: boolean;
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

/** Reads the offer of the server at an address. Its signature, and that it holds now, are checked. */
export async function meetServer(origin: string, now: Date): Promise<MetServer> {
	const transport = new DoorTransport(origin);
	const { pushKey, nodeKey, offer } = await transport.offer({ now });
	if (!nodeKey) {
		throw new Error('the server names its node in a way that this app does not know');
	}
	const vapid = providerInfo(offer, 'webpush') ?? '';
	return { server: { pushKey, nodeKey, vapid, direct: providerInfo(offer, 'direct') !== undefined }, offer, roundTrip: 0 };
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

export const isSameServer = (a: Server, b: Server): boolean => hexOf(a.pushKey) === hexOf(b.pushKey);

const kinds: Record<string, string> = {
	webpush: 'by the push service of the browser', direct: 'over a stream, while a window is open', fcm: 'by Firebase', apns: 'by Apple',
};

/** What an offer says, in words. */
export function describe({ server, offer, roundTrip }: MetServer, origin: string): [string, string][] {
	const days = (seconds: bigint): string => `${Number(seconds) / 86400 >= 2 ? `${Math.floor(Number(seconds) / 86400)} days` : `${Math.floor(Number(seconds) / 3600)} hours`}`;
	const { limits } = offer;
	return [
		['Address', origin],
		['Key', '0x' + hexOf(server.pushKey)],
		['Wakes', offer.providers.map((p) => kinds[p.name] ?? p.name).join('; ') || 'nobody'],
		['Limits', `${limits.channels} chats; a registration lasts ${days(limits.lifetime)}; ${limits.routes} ways to wake`],
		['Price', offer.price || 'free'],
		['Answers within', `${Math.max(1, Math.round(roundTrip))} ms`],
		['Offer holds until', new Date(Number(offer.expires) * 1000).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })],
	];
}
