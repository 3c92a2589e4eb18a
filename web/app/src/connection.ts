// The window's connection with the server, and what is told when there is none.
import { maxSkew } from './clock.js';
import { Watch } from './client.js';
import { button, element, make, words } from './dom.js';
import { type WentOn } from './home.js';
import { changes, type Messenger } from './messenger.js';
import { isGranted, isSubscribed, subscribe, tidy } from './subscriptions.js';

/** How long it takes until the server is tried again, and the longest that this grows to, in milliseconds. */
const firstPause = 3_000;
const maxPause = 120_000;

/** What a connection needs of the window. */
export interface Surroundings {
	readonly messenger: Messenger;
	readonly registration: ServiceWorkerRegistration | undefined;
	/** The chat that is looked at. */
	looking(): string | undefined;
	/** Draws what came. */
	changed(): Promise<void>;
}

export class Connection {
	readonly #around: Surroundings;
	#problem: string | undefined;
	#watch = new Watch();
	/** Of the server that was used when it was connected last. */
	#origin: string;
	/** Another window is rung, and this one waits for its turn. */
	#second = false;
	#busy: Promise<void> | undefined;
	#pause = firstPause;
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #dismissed = new Set<string>();

	constructor(around: Surroundings) {
		this.#around = around;
		this.#origin = around.messenger.home.origin;
		window.addEventListener('online', () => void this.connect());
		window.addEventListener('offline', () => void this.draw());
		// One window at a time is rung; when it closes, the next one is.
		void navigator.locks.request('listen', { ifAvailable: true }, async (lock) => {
			this.#second = lock === null;
		});
	}

	/** Registers, asks for what was missed, and sends what waits. It does not reject: what is in the way is told, and tried again. */
	connect(): Promise<void> {
		clearTimeout(this.#timer);
		return (this.#busy ??= this.#once().finally(() => (this.#busy = undefined)));
	}

	async #once(): Promise<void> {
		const { messenger, looking, changed } = this.#around;
		try {
			await messenger.home.register(subscribe);
			await messenger.history(looking());
			await messenger.catchUp();
			await messenger.flush();
			[this.#problem, this.#pause] = [undefined, firstPause];
			this.#watch.answered();
			if (messenger.home.movesTo === undefined) {
				await tidy(messenger.home);
			}
		} catch (error) {
			const { home } = messenger;
			const other = await home.meet().then((met) => !met.same, () => false);
			this.failed(other ? new Error('another server answers at this address than the one that has your account; Settings show it') : error);
			if (!other && (await messenger.skew.look(home.origin).catch(() => false))) {
				this.#pause = firstPause; // it may be that alone
				setTimeout(() => void this.connect());
			} else if (navigator.onLine) {
				await this.#judge();
			}
		}
		this.#origin = messenger.home.origin;
		await changed();
		await this.draw();
	}

	/** Tells what went wrong with the server, and tries it again later. */
	failed(error: unknown): void {
		console.warn('the server', error);
		this.#problem = words(error);
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => void this.connect(), this.#pause);
		this.#pause = Math.min(2 * this.#pause, maxPause);
		void this.#sendLater();
		void this.draw();
	}

	// Has the service worker send what waits, if the window is closed before there is a network.
	async #sendLater(): Promise<void> {
		const { sync } = (this.#around.registration ?? {}) as { sync?: { register(tag: string): Promise<void> } };
		await sync?.register('outbox').catch(() => undefined);
	}

	// Goes on with another server when the one in use has not answered for minutes. It does so in
	// one window, and if one of those that the person added answers: else it may be the network.
	async #judge(): Promise<void> {
		const { home } = this.#around.messenger;
		this.#watch.silent(performance.now());
		if (this.#watch.verdict(performance.now()) !== 'dead' || home.movesTo !== undefined) {
			return;
		}
		await navigator.locks.request('move', { ifAvailable: true }, async (lock) => {
			if (lock && (await home.goOn(subscribe))) {
				this.#watch = new Watch();
				changes.postMessage('restored'); // the others are to know both servers
				setTimeout(() => void this.connect());
			}
		});
	}

	/** Is rung for as long as the window is there, in turn with other windows. */
	async listen(ring: (body: string) => Promise<void>): Promise<void> {
		await navigator.locks.request('listen', async () => {
			this.#second = false;
			await this.draw();
			for (;;) {
				try {
					await this.#around.messenger.device.listen(async (body) => {
						await ring(body);
						await this.#arrived();
					}, { changed: (stands) => void this.#stream(stands) });
				} catch (error) {
					console.warn('listening ended', error);
					await new Promise((resolve) => setTimeout(resolve, this.#pause));
					await this.connect();
				}
			}
		});
	}

	// Ends what the former server had of this browser, if a move is over.
	async #arrived(): Promise<void> {
		const { home } = this.#around.messenger;
		if (this.#origin !== home.origin && home.movesTo === undefined) {
			this.#origin = home.origin;
			await this.connect();
		}
	}

	#stream(stands: boolean): void {
		if (!stands || this.#problem !== undefined) {
			void this.connect(); // which tells, if the server is not there
		}
	}

	/** Shows what the person is to know, in words. */
	async draw(): Promise<void> {
		const { home, store } = this.#around.messenger;
		const waiting = (await store.outgoing()).length;
		const told: string[] = [];
		const rest = waiting === 0 ? 'What you write is sent when it is back.' : `${waiting === 1 ? 'One message waits' : `${waiting} messages wait`} to be sent.`;
		if (!navigator.onLine) {
			told.push(`You are offline. ${rest}`);
		} else if (this.#problem !== undefined) {
			told.push(`The server${home.origin === location.origin ? '' : ` at ${host(home.origin)}`} cannot be reached: ${this.#problem}. It is tried again by itself. ${rest}`);
		}
		if (home.movesTo !== undefined) {
			told.push(`The app moves to the server at ${host(home.movesTo)}: until that one wakes this browser, both do.`);
		}
		const skew = this.#around.messenger.clockOffset;
		if (Math.abs(skew) > maxSkew) {
			told.push(`The clock of this device is ${duration(Math.abs(skew))} ${skew < 0 ? 'fast' : 'slow'}. Set it right: pushes and other apps depend on it.`);
		}
		const optional: string[] = [];
		const wentOn = await home.wentOn();
		if (wentOn) {
			optional.push(wordsOf(wentOn));
		}
		if (home.pushes && isGranted() && !(await isSubscribed(home))) {
			told.push('Notifications are on, and the browser has no push subscription for the server, or it has expired. While no window is open, nothing tells you of messages. It is tried again with every connection.');
		}
		if (await home.evidence()) {
			told.push(`The server${home.origin === location.origin ? '' : ` at ${host(home.origin)}`} has withheld a message from you, and signed the contrary. Settings have the proof, and other servers to move to.`);
		}
		if (home.pushes && window.Notification?.permission === 'denied') {
			optional.push('The browser was told to show no notifications of this app. While no window is open, nothing tells you of messages. The settings of the browser can change that.');
		}
		if (this.#second) {
			optional.push('The app is open in another window too. That one is told of new messages, and this one shows them as well.');
		}
		const rows = [...told.map((text) => make('li', {}, text)), ...optional.filter((text) => !this.#dismissed.has(text)).map((text) => make('li', {}, text, ' ', button('Hide', {}, () => {
			this.#dismissed.add(text);
			void (wentOn && text === wordsOf(wentOn) ? home.readWentOn() : Promise.resolve()).then(() => this.draw());
		})))];
		if (element('notices').textContent !== rows.map((row) => row.textContent).join('')) {
			element('notices').replaceChildren(...rows); // and is read out once
		}
	}
}

/** An origin as people write it. */
const host = (origin: string): string => new URL(origin).host;

const wordsOf = ({ from, to }: WentOn): string => `The server at ${host(from)} did not answer for minutes. The app goes on with the one at ${host(to)}.`;

/** A length of time in words. */
function duration(milliseconds: number): string {
	const minutes = Math.round(milliseconds / 60_000);
	return minutes < 120 ? `${minutes} minutes` : minutes < 48 * 60 ? `${Math.round(minutes / 60)} hours` : `${Math.round(minutes / 1440)} days`;
}
