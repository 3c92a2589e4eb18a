// Which server has the account, which others the person added, and the way from one to the next.
import {
	applicationServerKey, type Candidate, type Device, type Evidence, ServerList, Several, State, type Route, webPushRoute,
} from './client.js';
import { lasts } from './parts.js';
import { isSameServer, measureServer, type MetServer, type Server, serverOf } from './server.js';
import { type AppStore } from './store.js';

/** Has pushes of a server come to this browser, if the person wants any: returns the subscription. */
export type Subscribe = (server: Server, another?: boolean) => Promise<PushSubscription | null>;

/** What wakes a browser; a server must have one of them. */
const usable = ['webpush', 'direct'];

/** How a {@link Home} is opened. */
export interface HomeConfig {
	readonly store: AppStore;
	/** Of the page. */
	readonly origin: string;
	readonly now: () => number;
	/** Opens the device at a server; it listens to the chats that there are then. */
	readonly device: (server: Server, origin: string) => Promise<Device>;
	/** Told that another server has the account. */
	readonly moved: () => void;
}

/** The app went on with another server by itself. */
export interface WentOn {
	readonly from: string;
	readonly to: string;
}

export class Home {
	readonly several: Several;
	readonly #config: HomeConfig;
	#server: Server;
	#next: Server | undefined;

	private constructor(config: HomeConfig, server: Server, next: Server | undefined, devices: readonly [Device, Device | undefined]) {
		[this.#config, this.#server, this.#next] = [config, server, next];
		this.several = new Several({ device: devices[0], next: devices[1], moved: () => this.#moved() });
	}

	static async open(config: HomeConfig, server: Server): Promise<Home> {
		const next = await config.store.setting<Server>('next');
		const open = (s: Server): Promise<Device> => config.device(s, s.origin ?? config.origin);
		return new Home(config, server, next, [await open(server), next && (await open(next))]);
	}

	/** Where the server in use is. */
	get origin(): string {
		return this.#server.origin ?? this.#config.origin;
	}

	/** Where the server is that is moved to; undefined: the app does not move. */
	get movesTo(): string | undefined {
		return this.#next && (this.#next.origin ?? this.#config.origin);
	}

	/** The servers in use: one, or two while the app moves. */
	get servers(): readonly Server[] {
		return [this.#server, ...(this.#next ? [this.#next] : [])];
	}

	/** Whether the server wakes by Web Push. */
	get pushes(): boolean {
		return this.#server.vapid !== '';
	}

	/** Asks the server what it offers now, and tells whether it is the one that has the account. */
	async meet(): Promise<MetServer & { readonly same: boolean }> {
		const met = await measureServer(this.origin, new Date(this.#config.now()));
		return { ...met, same: isSameServer(met.server, this.#server) || isSameServer(met.server, this.several.device) };
	}

	/** Has another server, which answers at the same address, in the place of the one that had the account. The app is to be opened anew after that: it begins an account there. */
	async replace(server: Server): Promise<void> {
		await this.#config.store.setAll({ server, next: undefined });
	}

	/** Registers with the server, or with both. Rejects if none took it. */
	async register(subscribe: Subscribe): Promise<void> {
		const all = await Promise.allSettled(this.several.places.map(async ({ device }, i) => {
			const server = this.servers[i]!;
			const subscription = await subscribed(subscribe, server);
			await this.#registerAt(server, device, subscription);
			if (subscription && (await isSubscriptionGone(device))) {
				await this.#registerAt(server, device, await subscribe(server, true));
			}
		}));
		if (!all.some((r) => r.status === 'fulfilled')) {
			throw (all[0] as PromiseRejectedResult).reason;
		}
	}

	/** Registers with the server whose pushes come to a service worker that has another subscription now. */
	async resubscribe(registration: ServiceWorkerRegistration): Promise<void> {
		const scope = new URL(registration.scope).pathname;
		const i = this.servers.findIndex((s) => (s.scope ?? '/') === scope);
		if (i >= 0) { // else it is of a server that was left
			await this.#registerAt(this.servers[i]!, this.several.places[i]!.device, await subscription(registration, this.servers[i]!));
		}
	}

	async #registerAt(server: Server, device: Device, made: PushSubscription | null): Promise<void> {
		const routes = routesTo(server, device, made);
		if (routes.length > 0) {
			await device.register({ routes });
		}
	}

	/** The servers that the person added, the best first; after them those that cannot be used now. */
	async candidates(): Promise<Candidate[]> {
		const list = new ServerList(await this.#config.store.setting<Candidate[]>('servers'));
		const ranked = list.rank({ providers: usable, channels: this.several.chats.length }, this.#config.now());
		return [...ranked, ...list.all.filter((c) => !ranked.includes(c))];
	}

	#list<T>(change: (list: ServerList) => T): Promise<T> {
		let result!: T;
		return this.#config.store.alter<readonly Candidate[]>('servers', (held) => {
			const list = new ServerList(held);
			result = change(list);
			return list.all;
		}).then(() => result);
	}

	/** Adds the server at an address, or asks it anew. How long it took is noted, and that it did not answer. */
	async measure(origin: string): Promise<Candidate> {
		try {
			const { server, offer, roundTrip } = await measureServer(origin, new Date(this.#config.now()));
			return await this.#list((list) => {
				list.add(origin, { ...server, offer });
				list.asked(server.pushKey, roundTrip);
				return list.find(server.pushKey)!;
			});
		} catch (error) {
			await this.#list((list) => list.all.filter((c) => c.origin === origin).forEach((c) => list.asked(c.pushKey, 0)));
			throw error;
		}
	}

	/** Adds the server at an address, and the one in use, to compare it with and to come back to. */
	async add(origin: string): Promise<void> {
		await this.measure(origin);
		if (!(await this.candidates()).some((c) => this.isUsed(c))) {
			await this.measure(this.origin).catch((error: unknown) => console.warn('the server in use', error));
		}
	}

	forget(pushKey: Uint8Array): Promise<void> {
		return this.#list((list) => list.remove(pushKey));
	}

	/** Whether a server is the one in use. */
	isUsed(candidate: Pick<Candidate, 'pushKey'>): boolean {
		return isSameServer(candidate, this.#server) || isSameServer(candidate, this.several.device);
	}

	/** Moves to another server: both wake this browser until that one does. The one in use ends a move that is under way. */
	async move(to: Candidate, subscribe: Subscribe, eager = false): Promise<void> {
		const { store, device, origin } = this.#config;
		if (this.#next) {
			this.#next = undefined;
			await store.setAll({ next: undefined });
			await this.several.stay();
		}
		if (this.isUsed(to)) {
			return;
		}
		let server = serverOf(to);
		const next = await device(server, server.origin ?? origin);
		let made = await subscribed(subscribe, server);
		if (!made && eager) {
			// A service worker is installed from the page's server, which may be the one that is gone: then
			// that of the page, whose subscription is for nothing now, is the next server's.
			const { scope: _, ...here } = server;
			made = await subscribed(subscribe, here);
			server = made ? here : server;
		}
		const routes = routesTo(server, next, made);
		if (routes.length === 0) {
			throw new Error('this server has no way to wake this browser');
		}
		await store.setAll({ next: server }); // also if the window is closed meanwhile
		this.#next = server;
		try {
			await this.several.move(next, { routes }, { eager });
		} catch (error) {
			this.#next = undefined;
			await store.setAll({ next: undefined });
			next.close();
			throw error;
		}
	}

	async #moved(): Promise<void> {
		await this.#config.store.setAll({ server: this.#next, next: undefined });
		[this.#server, this.#next] = [this.#next!, undefined];
		this.#config.moved();
	}

	/** Moves to the best of the other servers that answers now; undefined: none does. */
	async goOn(subscribe: Subscribe): Promise<WentOn | undefined> {
		for (const candidate of await this.candidates()) {
			if (this.isUsed(candidate)) {
				continue;
			}
			try {
				const wentOn = { from: this.origin, to: candidate.origin };
				await this.move(await this.measure(candidate.origin), subscribe, true);
				await this.#config.store.setAll({ wentOn });
				return wentOn;
			} catch (error) {
				console.warn('the server at', candidate.origin, error);
			}
		}
		return undefined;
	}

	/** What convicts the server in use of having withheld a message; undefined: nothing does. */
	evidence(): Promise<Evidence | undefined> {
		return this.several.device.evidence();
	}

	/** That the app went on with another server, until the person has read it. */
	wentOn(): Promise<WentOn | undefined> {
		return this.#config.store.setting<WentOn>('wentOn');
	}

	async readWentOn(): Promise<void> {
		await this.#config.store.setAll({ wentOn: undefined });
	}
}

// The subscription for a server's pushes; null, also where that failed: there are other ways to wake.
const subscribed = (subscribe: Subscribe, server: Server): Promise<PushSubscription | null> =>
	subscribe(server).catch((error: unknown) => (console.warn('no push subscription', error), null));

function routesTo(server: Server, device: Device, made: PushSubscription | null): Route[] {
	return [...(server.direct ? [device.directRoute()] : []), ...(made ? [webPushRoute(made)] : [])];
}

/** A service worker's push subscription for a server; another one where it runs out soon, is for another server, or is to be another. */
export async function subscription(registration: ServiceWorkerRegistration, server: Server, another = false): Promise<PushSubscription> {
	const key = applicationServerKey(server.vapid);
	const held = await registration.pushManager.getSubscription();
	if (held && !another && lasts(held, key)) {
		return held;
	}
	await held?.unsubscribe();
	return registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key as BufferSource });
}

// Whether the push service says that the subscription is gone, by what the server knows.
async function isSubscriptionGone(device: Device): Promise<boolean> {
	const { details } = await device.status();
	return details?.routes.some((r) => r.provider === 'webpush' && (r.state === State.dead || r.doubt > 0n)) ?? false;
}
