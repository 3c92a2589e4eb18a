import { hex0x } from '../bytes.js';
import { type AskOptions } from '../device/ask.js';
import { type Chat } from '../device/chat.js';
import { limited } from '../device/clock.js';
import { type Device, type ListenOptions, type Registration } from '../device/device.js';
import { type DeviceEvent } from '../device/delivery.js';
import { DeviceError } from '../device/errors.js';
import { isProtocolError } from '../errors.js';
import { State } from '../push/reply.js';
import { type Sealed } from '../whisper/seal.js';
import { type Topic } from '../whisper/topic.js';
import { Watch } from './watch.js';

/** How long a server that is left is told so, in milliseconds. */
const leaveTimeout = 10_000;
/** How long one server may take before the next is asked, in milliseconds. */
const patience = 15_000;
/** How many messages that were given, and not said to be shown yet, are remembered for telling that another server has the same. */
const maxGiven = 4096;

/** The device at one server. */
export interface Place {
	readonly device: Device;
	/** How it answered in this run, by `performance.now()`. */
	readonly watch: Watch;
}

/** How a {@link Several} is opened. */
export interface SeveralConfig {
	/** At the server in use. */
	readonly device: Device;
	/** At the one that is moved to, if a move was under way when the app ended. */
	readonly next?: Device | undefined;
	/** Told that a move is over, before the former server is: the app keeps which one is in use. */
	readonly moved: (to: Device) => Promise<void>;
}

/**
 * The devices of one installation at one mailserver or, while it moves, at two, as if they were
 * one. Both wake it until the next one does, on every route that was registered there, and its
 * history has been read; then the registration with the former one ends. So nothing is missed,
 * and nothing comes twice. It is the way to another server also if the former one is dead: what
 * came since that answered last is in the next one's history.
 */
export class Several {
	readonly #moved: SeveralConfig['moved'];
	/** The first is the one that posts. */
	#places: Place[];
	/** One route that works is enough for the next server to take over. */
	#eager = false;
	#given = new Map<string, Place>();
	/** A server was left in this run, whose last pushes may be under way. */
	#left = false;
	#settling: Promise<DeviceEvent | undefined> | undefined;
	#changed = new AbortController();

	constructor({ device, next, moved }: SeveralConfig) {
		this.#moved = moved;
		this.#places = [device, ...(next ? [next] : [])].map((d) => ({ device: d, watch: new Watch() }));
	}

	/** The device at the server in use. */
	get device(): Device {
		return this.#places[0]!.device;
	}

	/** The device at the server that is moved to; undefined: none is. */
	get next(): Device | undefined {
		return this.#places[1]?.device;
	}

	/** The places, the one in use first. */
	get places(): readonly Place[] {
		return this.#places;
	}

	get chats(): readonly Chat[] {
		return this.device.chats;
	}

	/** Registers with the next server, whose device was opened with the same chats, and which takes over as soon as it wakes it. Rejects, and changes nothing, if that one does not take the registration. With `eager` one route that works is enough, as where the former server is dead. */
	async move(next: Device, registration: Registration, { eager = false } = {}): Promise<void> {
		if (this.next) {
			throw new Error('a move to another server is under way already');
		}
		await next.inherit(this.device);
		await next.register(registration, { attempts: 2 });
		this.#eager = eager;
		this.#set([this.#places[0]!, { device: next, watch: new Watch() }]);
	}

	/** Ends a move that is under way: the server in use stays. */
	async stay(): Promise<void> {
		const next = this.#places[1];
		if (next) {
			this.#set([this.#places[0]!]);
			await this.#leave(next);
		}
	}

	#set(places: Place[]): void {
		this.#places = places;
		const changed = this.#changed;
		this.#changed = new AbortController();
		changed.abort();
	}

	// Another run may have the device still: its account stays, and only its registration ends.
	async #leave(place: Place): Promise<void> {
		const signal = AbortSignal.timeout(leaveTimeout);
		await place.device.unregister({ attempts: 1, signal }).catch(() => undefined); // it forgets the registration when its lifetime is over
		place.device.close();
	}

	/**
	 * Ends a move whose next server wakes the device, and returns what that one has; undefined:
	 * there is no move, or its next server does not yet.
	 */
	settle(): Promise<DeviceEvent | undefined> {
		return (this.#settling ??= this.#settle().finally(() => (this.#settling = undefined)));
	}

	async #settle(): Promise<DeviceEvent | undefined> {
		const [former, next] = this.#places;
		if (!former || !next || !(await (this.#eager ? next.device.active() : wakes(next.device)))) {
			return undefined;
		}
		const has = this.#take(next, await next.device.history());
		if (has.error !== undefined) {
			return has;
		}
		await this.#moved(next.device);
		this.#left = true;
		this.#set([next]);
		await this.#leave(former); // what it had in flight is in the next one's history
		return has;
	}

	async #settled(event: DeviceEvent): Promise<DeviceEvent> {
		if (!this.next) {
			return event;
		}
		try {
			const more = await this.settle();
			return more ? joined(event, more) : event;
		} catch (error) {
			return { ...event, error: event.error ?? error };
		}
	}

	// Leaves out of a server's event what another one has given and the app has not shown yet.
	#take(from: Place, event: DeviceEvent): DeviceEvent {
		if (event.error === undefined) {
			from.watch.answered();
		}
		const copies = [...event.copies];
		const previews = event.previews.filter((p) => {
			const owner = this.#given.get(p.message);
			if (owner && owner !== from) {
				copies.push({ hash: p.hash, message: p.message });
				return false;
			}
			if (this.#given.size >= maxGiven) {
				this.#given.clear(); // the devices themselves know what was shown
			}
			this.#given.set(p.message, from);
			return true;
		});
		return { ...event, previews, copies };
	}

	/** Hands a push to the device that can open it. One that a server sent before it was left is a reason to ask for the history. */
	async receive(push: string | Uint8Array): Promise<DeviceEvent> {
		let refused: unknown;
		for (const place of this.#places) {
			try {
				return await this.#settled(this.#take(place, await place.device.receive(push)));
			} catch (error) {
				if (!isProtocolError(error) && !(error instanceof DeviceError && error.code === 'not-ours')) {
					throw error;
				}
				refused ??= error; // another server's
			}
		}
		if (this.#left) {
			return this.history();
		}
		throw refused;
	}

	// Asks all servers at once, and fails only if none of them did it.
	async #each<T>(ask: (place: Place) => Promise<T>): Promise<T[]> {
		const all = await Promise.allSettled(this.#places.map(ask));
		const done = all.filter((r) => r.status === 'fulfilled').map((r) => r.value);
		if (done.length === 0) {
			throw (all[0] as PromiseRejectedResult).reason;
		}
		return done;
	}

	async #all(ask: (device: Device) => Promise<DeviceEvent>): Promise<DeviceEvent> {
		const events = await this.#each(async (place) => this.#take(place, await ask(place.device)));
		const event = events.reduce(joined);
		return events.some((e) => e.error === undefined) ? { ...event, error: undefined } : event;
	}

	/** Asks all servers. Its error says that none of them answered. */
	async history(): Promise<DeviceEvent> {
		return this.#settled(await this.#all((device) => device.history(this.#patient())));
	}

	/** Is `Device.past` at all servers. */
	past(since: Date, topics: readonly Topic[]): Promise<DeviceEvent> {
		return this.#all((device) => device.past(since, topics, this.#patient()));
	}

	// Where there is another server to ask, one is not waited for as long as there may be an answer.
	#patient(): { signal?: AbortSignal } {
		return this.next ? { signal: AbortSignal.timeout(patience) } : {};
	}

	/** Has none of the devices give these messages again. */
	async shown(hashes: readonly string[]): Promise<void> {
		for (const { device } of this.#places) {
			await device.shown(hashes);
		}
		const [a, b] = this.#places;
		if (a && b) {
			await a.device.inherit(b.device);
			await b.device.inherit(a.device);
		}
	}

	/** What any of the servers has told. */
	async readElsewhere(hashes: readonly string[]): Promise<string[]> {
		const told = await Promise.all(this.#places.map(({ device }) => device.readElsewhere(hashes)));
		return [...new Set(told.flat())];
	}

	/** Asks one server after the other for what is missing. */
	async fetch(hashes: readonly string[]): Promise<DeviceEvent> {
		let event: DeviceEvent | undefined;
		let missing = hashes;
		for (const place of this.#places) {
			const has = this.#take(place, await place.device.fetch(missing, this.#patient()));
			event = event ? { ...joined({ ...event, missing: [] }, has), missing: has.missing } : has;
			missing = has.missing;
			if (missing.length === 0 && has.error === undefined) {
				break;
			}
		}
		return event!;
	}

	/** Tells all servers, and fails if none of them was told. */
	async seen(hashes: readonly string[]): Promise<void> {
		await this.#each(({ device }) => device.seen(hashes, this.#patient()));
	}

	/** Posts by the first server that takes it; the next one is told that this device need not be woken for it. */
	async post(sealed: Sealed, options: { readonly wake?: boolean } = {}): Promise<string> {
		let refused: unknown;
		for (const place of this.#places) {
			try {
				const hash = await place.device.post(sealed, { ...options, ...this.#patient() });
				for (const other of this.#places) {
					if (other !== place) {
						await other.device.shown([hash]);
						// Else it is woken for a copy. The user's other devices are to be woken all the same, if so.
						void (options.wake ? undefined : other.device.seen([hash], { attempts: 1 }).catch(() => undefined));
					}
				}
				return hash;
			} catch (error) {
				refused ??= error;
			}
		}
		throw refused;
	}

	doubt(topics: readonly Topic[]): void {
		this.#places.forEach(({ device }) => device.doubt(topics));
	}

	/** Tells all servers, and fails if none of them was told. A registration tells it all. */
	async setChats(chats: readonly Chat[]): Promise<void> {
		await this.#each(({ device }) => device.setChats(chats, this.#patient()));
	}

	/** Is `Device.listen` at all servers, also at one that is moved to meanwhile. */
	async listen(ring: (body: string) => Promise<void> | void, options: ListenOptions = {}): Promise<void> {
		await limited([options.signal], undefined, async (signal) => {
			for (;;) {
				const changed = this.#changed.signal;
				const round = new AbortController();
				const end = (): void => round.abort(signal.reason);
				signal.addEventListener('abort', end);
				const streams = this.#places.map((place, i) => place.device.listen(ring, { signal: round.signal, changed: i === 0 ? options.changed : undefined }));
				try {
					const again = new Promise<void>((resolve) => (changed.aborted ? resolve() : changed.addEventListener('abort', () => resolve(), { once: true })));
					await Promise.race([...streams, again]);
				} catch (error) {
					if (!changed.aborted) {
						throw error;
					}
				} finally {
					round.abort(new DeviceError('closed', 'it listens anew'));
					signal.removeEventListener('abort', end);
					await Promise.allSettled(streams);
				}
				signal.throwIfAborted();
			}
		});
	}

	/** Ends the registrations, and fails if no server was told. */
	async unregister(options: AskOptions = {}): Promise<void> {
		await this.#each(({ device }) => device.unregister(options));
	}

	/** Ends what is under way. The registrations stay. */
	close(): void {
		this.#places.forEach(({ device }) => device.close());
	}
}

// Whether a server wakes the device on all routes that were registered there and are not given up.
async function wakes(device: Device): Promise<boolean> {
	if (!(await device.active())) {
		return false;
	}
	const { state, details } = await device.status({ attempts: 2 });
	return state === State.active && (details?.routes ?? []).every((r) => r.state !== State.waiting);
}

function joined(event: DeviceEvent, more: DeviceEvent): DeviceEvent {
	const have = new Set(event.previews.map((p) => p.hash));
	const previews = [...event.previews, ...more.previews.filter((p) => !have.has(p.hash))].sort((a, b) => a.sent.getTime() - b.sent.getTime());
	const both = (a: readonly string[], b: readonly string[]): string[] => [...new Set([...a, ...b])];
	return {
		kind: event.kind, seq: event.seq, previews, dismissed: both(event.dismissed, more.dismissed), missing: both(event.missing, more.missing),
		unopened: [...new Map([...event.unopened, ...more.unopened].map((e) => [hex0x(e.hash), e])).values()], copies: [...event.copies, ...more.copies],
		gap: event.gap || more.gap, more: event.more || more.more, error: event.error ?? more.error,
	};
}

