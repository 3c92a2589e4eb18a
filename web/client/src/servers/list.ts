import { equal, hex } from '../bytes.js';
import { type DiscoveredServer } from '../device/offers.js';
import { type Offer } from '../push/offer.js';
import { follow } from '../push/succession.js';
import { type PublicKey } from '../whisper/keys.js';

/** How many servers a list has at most. Their addresses are a person's own choice, so that nobody else fills it. */
export const maxListed = 32;

/** What a list says of a server that it does not take: there is a later offer of it; another one answers at its address; the list is full. */
export type ListErrorCode = 'replayed' | 'another' | 'full';

export class ListError extends Error {
	override readonly name = 'ListError';
	constructor(readonly code: ListErrorCode, message: string) {
		super(message);
	}
}

/** A server that has made an offer, and how it answered this device. It is plain data, which an app keeps. */
export interface Candidate {
	/** Compressed: who it is. */
	readonly pushKey: PublicKey;
	/** Of its door. */
	readonly origin: string;
	/** Of its node, see {@link DiscoveredServer}. */
	readonly nodeKey: PublicKey | undefined;
	/** Its newest. */
	readonly offer: Offer;
	/** How often it was asked something. */
	readonly asked: number;
	/** How often it answered. */
	readonly answered: number;
	/** Of the latest answer, in milliseconds; 0: none yet. */
	readonly roundTrip: number;
}

/** What an app needs of a server. */
export interface Need {
	/** Names of providers, any of which will do; none: any server. */
	readonly providers?: readonly string[];
	/** Topics that it registers. */
	readonly channels?: number;
	/** What costs something is left out; else it comes last. */
	readonly free?: boolean;
}

/** What the round trip of a server that was never asked is taken for, in milliseconds. */
const unmeasured = 1000;

/** How often it answers, by what is known: one that was never asked is taken for one that answered once of two times. */
export const rateOf = (c: Pick<Candidate, 'asked' | 'answered'>): number => (c.answered + 1) / (c.asked + 2);

// Whether the server with one push key goes on with another by the word of both.
function leads(from: PublicKey, { successions = [] }: Offer, to: PublicKey): boolean {
	try {
		return follow(from, successions).some((s) => equal(s.next, to));
	} catch {
		return false; // somebody says so who has not both keys
	}
}

/** Keeps the offers of servers, and ranks them as `servers.List` of the Go SDK does. */
export class ServerList {
	#held: Candidate[];

	/** @param held what {@link all} returned before */
	constructor(held: readonly Candidate[] = []) {
		this.#held = held.slice(0, maxListed);
	}

	/** All of them, in the order in which they were added. */
	get all(): readonly Candidate[] {
		return this.#held;
	}

	find(pushKey: PublicKey): Candidate | undefined {
		return this.#held.find((c) => equal(c.pushKey, pushKey));
	}

	/**
	 * Takes the offer of the server at an address, in place of its former one. One that goes on
	 * with another push key by the word of both keeps its place. Throws a {@link ListError}.
	 */
	add(origin: string, met: DiscoveredServer): Candidate {
		const { pushKey, nodeKey, offer } = met;
		const held = this.find(pushKey) ?? this.#held.find((c) => leads(c.pushKey, offer, pushKey));
		if (!held && this.#held.some((c) => c.origin === origin)) {
			throw new ListError('another', `another server answers at ${origin} than the one that was added`);
		}
		if (held && offer.issued < held.offer.issued) {
			throw new ListError('replayed', `there is a later offer of the server at ${held.origin}`);
		}
		if (!held && this.#held.length >= maxListed) {
			throw new ListError('full', `there are ${maxListed} servers already: remove one first`);
		}
		const next: Candidate = { asked: 0, answered: 0, roundTrip: 0, ...held, pushKey, origin, nodeKey, offer };
		this.#held = held ? this.#held.map((c) => (c === held ? next : c)) : [...this.#held, next];
		return next;
	}

	remove(pushKey: PublicKey): void {
		this.#held = this.#held.filter((c) => !equal(c.pushKey, pushKey));
	}

	/** Notes that a server was asked, and how long its answer took, in milliseconds; 0: none came. */
	asked(pushKey: PublicKey, roundTrip: number): void {
		this.#held = this.#held.map((c) => {
			if (!equal(c.pushKey, pushKey)) {
				return c;
			}
			return roundTrip > 0 ? { ...c, asked: c.asked + 1, answered: c.answered + 1, roundTrip } : { ...c, asked: c.asked + 1 };
		});
	}

	/**
	 * The servers that fill a need, the best first: what is free before what is not, as a price
	 * is a sentence for people; then by how often they answer; then by how soon. An offer that
	 * has expired at `now`, Unix milliseconds, is left out.
	 */
	rank(need: Need, now: number): Candidate[] {
		const { providers = [], channels = 0, free = false } = need;
		const fit = this.#held.filter(({ offer: { limits, expires, price, providers: has } }) => {
			const usable = providers.length === 0 || has.some((p) => providers.includes(p.name));
			const room = limits.channels === 0n || limits.channels >= BigInt(channels);
			return usable && room && BigInt(Math.floor(now / 1000)) < expires && (price === '' || !free);
		});
		const costs = (c: Candidate): number => Math.min(c.offer.price.length, 1);
		const trip = (c: Candidate): number => c.roundTrip || unmeasured;
		return fit.sort((a, b) => costs(a) - costs(b) || rateOf(b) - rateOf(a) || trip(a) - trip(b) || (hex(a.pushKey) < hex(b.pushKey) ? -1 : 1));
	}
}
