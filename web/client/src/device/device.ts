import { equal, fromHex, hex0x, random } from '../bytes.js';
import { malformed, ProtocolError } from '../errors.js';
import { decodeCursor, isZeroCursor } from '../mail/cursor.js';
import { chainStart } from '../push/chain.js';
import { sealPublicKey } from '../push/hpke.js';
import { hashSize, maxGroup } from '../push/limits.js';
import { namesBoth, openPayload, type Payload, PayloadKind } from '../push/payload.js';
import { isHeadSigned, ledgerId } from '../push/ledger.js';
import { type Capability, confirmation, notification } from '../push/proofs.js';
import { Code, type Ledger, type StatusReply } from '../push/reply.js';
import { encodeRequest, newRequest, type NotifyType, type Preferences, type RequestBody, type Route } from '../push/request.js';
import { keyFromPassword, newPrivateKey, parsePublicKey, type PublicKey, publicKeyOf } from '../whisper/keys.js';
import { mineHere, type Miner } from '../whisper/miner.js';
import { type Draft as Message, encrypt, envelop, type Sealed } from '../whisper/seal.js';
import { type Topic } from '../whisper/topic.js';
import { Account } from './account.js';
import { Asker, type AskOptions, type Exchange } from './ask.js';
import { bodyOf } from './body.js';
import { channelsOf, type Chat, checkChats, difference } from './chat.js';
import { type Clock, limited, systemClock, until } from './clock.js';
import { type MailKey } from './collect.js';
import { Delivery, type DeviceEvent, Draft } from './delivery.js';
import { DeviceError, isRefused, refusalOf } from './errors.js';
import { type Evidence } from './evidence.js';
import { newestOf, takeHead } from './ledger.js';
import { nextVersion, type State } from './state.js';
import { MemoryStore, type Store } from './store.js';
import { type Transport } from './transport.js';

/** Which mailserver a device uses, and what it listens to. */
export interface DeviceConfig {
	/** The server's push key, 33 or 65 bytes, in hexadecimal or bytes: printed by the server when it starts. One that it had before will do, while it tells devices of the next. */
	readonly pushKey: string | Uint8Array;
	/**
	 * Push keys that the server had before, by the word of who runs it, told to the app as
	 * `pushKey` is: an account with one of them is taken over, and goes on with `pushKey`. That
	 * is for a key that was changed because others may know it; a device finds any other
	 * change by itself.
	 */
	readonly formerPushKeys?: readonly (string | Uint8Array)[] | undefined;
	/** How the server is reached. */
	readonly transport: Transport;
	/** Where the device keeps its state; undefined: only in memory. */
	readonly store?: Store | undefined;
	/** What it can open; `register` tells the server their topics. */
	readonly chats?: readonly Chat[] | undefined;
	/** Who opens requests of history: the mailserver's password, or the key of its node (`nodeKeyOf`). */
	readonly mail?: { readonly password: string } | { readonly nodeKey: PublicKey } | undefined;
	/**
	 * Hands the app also what a notification does not need: envelopes that no chat can open
	 * (`DeviceEvent.unopened`), further envelopes of messages (`copies`), and messages that were read on
	 * another device (`Preview.read`), which it otherwise does not give. An `Inbox` needs it.
	 */
	readonly complete?: boolean | undefined;
	/** Who does the proof of work; undefined: the thread of the device, a few milliseconds at a time. */
	readonly miner?: Miner | undefined;
	/** The time, for tests. */
	readonly clock?: Clock | undefined;
}

/** How and for how long a device wants to be woken. What it is woken for are its chats. */
export interface Registration {
	/** The ways to wake the device, the preferred one first; at least one. See `webPushRoute`. */
	readonly routes: readonly Route[];
	/** After how many seconds the registration ends unless it is renewed by another `register`; undefined: the longest that the server allows. */
	readonly lifetime?: number | undefined;
	/** Asks for pushes that show the push service the hashes, for tools that cannot decrypt. */
	readonly plain?: boolean | undefined;
	/** A secret that the devices of one user share ({@link newGroup}): what one of them has seen, the others need not show. */
	readonly group?: Uint8Array | undefined;
	/** Lets others ring this device; undefined: nobody. */
	readonly preferences?: Preferences | undefined;
	/** Pays for the registration where the server asks for that, in every `register` as long as it lasts; undefined: none. */
	readonly voucher?: Uint8Array | undefined;
}

/** What the server holds about the device. */
export interface DeviceStatus {
	/** See `State` of the push protocol. */
	readonly state: number;
	/** Why it does not wake the device, if it does not. */
	readonly reason: string;
	/** The rest, if the server told. */
	readonly details: StatusReply | undefined;
}

/** How {@link Device.listen} listens. */
export interface ListenOptions {
	/** Ends it. */
	readonly signal?: AbortSignal | undefined;
	/** Told that the stream stands, and that it was lost and is opened again. */
	readonly changed?: ((stands: boolean) => void) | undefined;
}

/** Returns a random group id for {@link Registration.group}. */
export const newGroup = (): Uint8Array => random(maxGroup);

/** The pause before a lost stream is opened again, in milliseconds, and the longest that it grows to; each is cut by up to a half at random. */
const firstListenPause = 250;
const maxListenPause = 60_000;

/** What the app threw, as it is no reason to open the stream again. */
class RingFailed extends Error {
	constructor(readonly error: unknown) {
		super();
	}
}

const nobody: Preferences = { root: new Uint8Array(0), handle: new Uint8Array(0), revoked: [] };

/** How far before a mailserver's latest answer the history of the next one begins, in seconds. */
const inheritBack = 24 * 3600;

/** How long a message waits for the server to know that this device has it, in milliseconds. */
const firstSaid = 3_000;

/** The proof of work that most of the network asks of an envelope. */
const networkPow = 0.2;

/**
 * One installation of an app at one mailserver. Its methods may be called at any time.
 * Those that ask the mailserver take turns; the others do not wait for them.
 *
 * Nothing is taken from the app before it says by {@link shown} that it has it: a message
 * comes again until then, under the same hash, with its push and after the next start.
 * What the device is about to fetch is in its store before, as the server takes the fetch
 * for the receipt.
 */
export class Device {
	/** The device's account with the server: its registration key, compressed, public. */
	readonly registrationKey: PublicKey;
	readonly #account: Account;
	readonly #asker: Asker;
	readonly #delivery: Delivery;
	readonly #transport: Transport;
	readonly #life = new AbortController();
	#chats: readonly Chat[];
	#unsure: Topic[] = []; // of changes that the server may have made or not
	#turn: Promise<void> = Promise.resolve();

	private constructor(config: DeviceConfig, pushKey: PublicKey, account: Account) {
		const { transport, miner = mineHere, clock = systemClock } = config;
		this.registrationKey = publicKeyOf(account.registrationKey);
		this.#account = account;
		this.#transport = transport;
		this.#chats = [...(config.chats ?? [])];
		this.#asker = new Asker({
			transport, pushKey, miner, clock,
			registrationKey: account.registrationKey,
			life: this.#life.signal,
			learn: (change) => account.change(change),
			goOn: (path) => account.goOn(path),
			ledger: () => account.read(({ ledger }) => ({ secret: ledger?.secret ?? new Uint8Array(0), count: ledger ? newestOf(ledger).count : 0n })),
			takeHead: (s, told, key) => this.#takeHead(s, told, key),
		});
		this.#delivery = new Delivery({ account, asker: this.#asker, mailKey: mailKeyOf(config), chats: () => this.#chats, complete: config.complete ?? false });
	}

	/**
	 * Reads the device's account with the server from its store. If there is none, it begins
	 * one, with keys of its own. It does not connect.
	 */
	static async open(config: DeviceConfig): Promise<Device> {
		const pushKey = parsePublicKey(config.pushKey);
		checkChats(config.chats ?? []);
		const formerKeys = (config.formerPushKeys ?? []).map(parsePublicKey);
		const account = await Account.open(config.store ?? new MemoryStore(), pushKey, formerKeys, config.clock ?? systemClock);
		return new Device(config, (await account.pushKeys()).at(-1)!, account);
	}

	/** The push key, compressed, that the server has now, as far as the device knows. */
	get pushKey(): PublicKey {
		return this.#asker.pushKey;
	}

	/** The chats that the device listens to. */
	get chats(): readonly Chat[] {
		return this.#chats;
	}

	/** How far the server's clock is ahead of this device's, in milliseconds; 0 until a reply told. Both take part in what is sent. */
	get clockOffset(): number {
		return this.#asker.offset;
	}

	/** Tells whether the server confirmed the registration, by its last reply. */
	active(): Promise<boolean> {
		return this.#account.read((s) => s.active);
	}

	/**
	 * Creates the registration or replaces it as a whole. The server then sends a challenge to
	 * each new address; {@link receive} answers it. Register again whenever the platform hands
	 * out a new address, and before the lifetime is over.
	 */
	async register(registration: Registration, options: AskOptions = {}): Promise<void> {
		const { routes, lifetime = 0, plain = false, group = new Uint8Array(0), preferences = nobody, voucher = new Uint8Array(0) } = registration;
		if (routes.length === 0) {
			throw new TypeError('Registration.routes is empty; give at least one way to wake the device, such as a push subscription');
		}
		await this.#inTurn(options, async (o) => {
			const sealKey = plain ? new Uint8Array(0) : sealPublicKey(this.#account.sealKey);
			const channels = channelsOf(this.#chats);
			const before = await this.#account.read((s) => s.asked);
			const body = { kind: 'register', routes, sealKey, plain, channels, lifetime: BigInt(Math.floor(lifetime)), group, preferences, voucher } as const;
			const none = new Uint8Array(0);
			await this.#change((version) => ({ ...body, version, chain: plain ? none : chainStart(this.#account.sealKey, version) }), o, {
				sent: (s) => {
					if (s.plain !== plain) {
						s.asked = plain ? 'plain' : 'sealed';
					}
				},
				answered: (s, done) => {
					if (done) {
						[s.plain, s.asked, s.grouped] = [plain, undefined, group.length > 0];
						this.#unsure = []; // the channels are these now
					} else {
						s.asked = before;
					}
				},
			});
		});
	}

	/** Replaces the chats, and tells the server of the topics that came, changed or went. */
	async setChats(chats: readonly Chat[], options: AskOptions = {}): Promise<void> {
		checkChats(chats);
		const next = [...chats];
		await this.#inTurn(options, async (o) => {
			const channels = difference(channelsOf(this.#chats), channelsOf(next), this.#unsure);
			if (channels.length === 0) {
				this.#chats = next;
				return;
			}
			await this.#change((version) => ({ kind: 'channels', version, channels, revoked: [] }), o, {
				sent: () => {
					this.#unsure.push(...channels.map((c) => c.topic));
					this.#chats = next; // they can be opened from now on; what the server has of it is in doubt
				},
				answered: (_, done) => {
					if (done) {
						this.#unsure = [];
					}
				},
			});
		});
	}

	/** Ends the registration. The keys stay; {@link register} starts it anew. */
	async unregister(options: AskOptions = {}): Promise<void> {
		await this.#inTurn(options, (o) =>
			this.#change((version) => ({ kind: 'unregister', version }), o, {
				sent: () => undefined,
				answered: (s, done) => {
					if (done) {
						[s.epoch, s.seq] = [0n, 0n];
					}
				},
			}),
		);
	}

	/** Asks what the server holds about the device. */
	async status(options: AskOptions = {}): Promise<DeviceStatus> {
		return this.#inTurn(options, async (o) => {
			const { reply } = await this.#asker.ask({ kind: 'status' }, o);
			if (reply.code !== Code.ok) {
				throw refusalOf('status', reply);
			}
			const details = reply.body?.kind === 'status' ? reply.body : undefined;
			return { state: reply.state, reason: reply.reason, details };
		});
	}

	/**
	 * Handles the body of a push as the platform delivered it: it answers a challenge, or
	 * fetches what the push tells of and returns the previews. What a platform puts around
	 * the body is taken off.
	 *
	 * It rejects with a DeviceError, `not-ours`, for pushes of others, and with a
	 * ProtocolError for one that cannot be opened. What else goes wrong is the event's
	 * `error`, beside what came all the same.
	 */
	async receive(push: string | Uint8Array, options: AskOptions = {}): Promise<DeviceEvent> {
		const body = bodyOf(push);
		return this.#inTurn(options, async (o) => {
			const payload = await this.#open(body);
			const event = new Draft(payload.kind, payload.seq);
			switch (payload.kind) {
				case PayloadKind.challenge:
					await event.attempt(() => this.#confirm(payload, o));
					break;
				case PayloadKind.dismiss:
					await this.#delivery.dismiss(payload.hashes, event);
					break;
				case PayloadKind.messages:
					await event.attempt(() => this.#delivery.messages(payload, event, o));
					break;
			}
			return this.#delivery.hand(event);
		});
	}

	/**
	 * Asks the server for exactly these envelopes and returns previews of those that were not
	 * shown, and the hashes that it does not have. It is the receipt for the pushes that told
	 * of them.
	 */
	async fetch(hashes: readonly string[], options: AskOptions = {}): Promise<DeviceEvent> {
		const wanted = hashes.map(hashOf);
		return this.#event(options, (event, o) => this.#delivery.fetch(wanted, event, o));
	}

	/**
	 * Asks the mailserver for everything that it archived for the device's chats since the
	 * last time, whatever time it claims to be from, and returns previews of what was not
	 * shown. It is for the app's start, and for repairing lost pushes, which {@link receive}
	 * does by itself.
	 */
	async history(options: AskOptions = {}): Promise<DeviceEvent> {
		return this.#event(options, (event, o) => this.#delivery.history(event, o));
	}

	/**
	 * Asks the mailserver for what it archived since a time on some topics of the device's
	 * chats, and returns previews of what was not shown. It is for chats that the device came
	 * by lately; what {@link history} asks for stays as it was.
	 */
	async past(since: Date, topics: readonly Topic[], options: AskOptions = {}): Promise<DeviceEvent> {
		return this.#event(options, (event, o) => this.#delivery.past(since, topics, event, o));
	}

	/** Has the next {@link setChats} tell the server of these topics in any case: it is not known how the server has them. */
	doubt(topics: readonly Topic[]): void {
		this.#unsure.push(...topics);
	}

	/**
	 * Takes over from the device at another mailserver which messages the app has, so that
	 * neither gives it one that the other has given, and lets the first {@link history} begin
	 * a day before that mailserver answered last: it may have withheld something before it
	 * fell silent. Say {@link shown} before, or do it again after: what waits for that is not
	 * taken over.
	 */
	async inherit(from: Device): Promise<void> {
		const { known, elsewhere, since } = await from.#account.read((s) => ({ known: s.known, elsewhere: s.elsewhere, since: Math.max(s.since, (s.heard ?? 0) - inheritBack) }));
		await this.#account.inbox((inbox, s) => {
			inbox.add(known, elsewhere);
			if (since < s.since && isZeroCursor(decodeCursor(s.cursor))) {
				[s.since, s.begin] = [since, 0];
			}
		});
	}

	/**
	 * Says that the app has these messages and they need not be given to it again: it has
	 * shown them, or decided that it will not. The server is not asked.
	 */
	async shown(hashes: readonly string[]): Promise<void> {
		await this.#delivery.shown(hashes.map(hashOf));
	}

	/** Tells which of these envelopes were read on another of the user's devices, as far as a push or a reply has said so; see `DeviceConfig.complete`. */
	async readElsewhere(hashes: readonly string[]): Promise<string[]> {
		return (await this.#delivery.readElsewhere(hashes.map(hashOf))).map(hex0x);
	}

	/**
	 * Tells the server that these envelopes were read on this device, or sent from it: nobody
	 * is woken for them any more, and notifications on the user's other devices disappear.
	 * They count as shown, also if the server cannot be told.
	 */
	async seen(hashes: readonly string[], options: AskOptions = {}): Promise<void> {
		const read = hashes.map(hashOf);
		await this.#delivery.shown(read);
		await this.#inTurn(options, async (o) => {
			for (let at = 0; at < read.length; at += this.#asker.fetch) {
				const part = read.slice(at, at + this.#asker.fetch);
				accepted('seen', await this.#asker.ask({ kind: 'seen', hashes: part }, o));
			}
		});
	}

	/**
	 * Rings somebody for an envelope, with the capability that they gave. Whether they are
	 * rung cannot be told. The request is signed by a key that is made for it alone.
	 */
	async notify(by: Capability, hash: string, type: NotifyType, options: AskOptions = {}): Promise<void> {
		const body = notification(by, hashOf(hash), type, this.pushKey);
		const stranger = new Asker({ ...this.#asker.config, pushKey: this.pushKey, registrationKey: newPrivateKey(), learn: () => Promise.resolve(), ledger: undefined });
		[stranger.offset, stranger.pow] = [this.#asker.offset, this.#asker.pow];
		await this.#inTurn(options, async (o) => accepted('notify', await stranger.ask(body, o)));
	}

	/**
	 * Seals a message and puts it on the network, with the proof of work that most of the
	 * network asks for unless the draft says another. It counts as shown, and the server is
	 * told not to wake the user's devices for it. Returns the hash of its envelope.
	 */
	async send(draft: Message, options: AskOptions = {}): Promise<string> {
		const now = draft.now ?? this.#asker.now();
		return this.post(await encrypt({ ...draft, now }), { ...options, ttl: draft.ttl, pow: draft.pow, now });
	}

	/**
	 * Puts an encrypted message on the network, as {@link send} does. It may be put there once
	 * more where it is not known whether it arrived: those who have it take the second for a
	 * copy. With `wake` the user's other devices are woken for it. Returns the hash of the
	 * envelope that it went in.
	 */
	async post(sealed: Sealed, options: AskOptions & { readonly ttl?: number | undefined; readonly pow?: number | undefined; readonly now?: Date | undefined; readonly wake?: boolean } = {}): Promise<string> {
		const { miner } = this.#asker.config;
		return limited([this.#life.signal, options.signal], undefined, async (signal) => {
			const { ttl, pow = networkPow, now = this.#asker.now(), wake = false } = options;
			const envelope = await envelop(sealed, { ttl, pow, now }, { miner, signal });
			await this.#delivery.shown([envelope.hash]);
			const hash = hex0x(envelope.hash);
			// Of one that others are to be woken for, the server is only told that this device has it.
			const tell = (): Promise<unknown> => (wake ? this.#inTurn(options, (o) => this.#asker.ask({ kind: 'fetch', hashes: [envelope.hash], received: [] }, o)) : this.seen([hash], options));
			const seen = (await this.active()) ? tell() : Promise.resolve();
			const told = seen.catch(() => undefined); // then the user's devices are woken for it
			await this.#within(firstSaid, told, signal); // or the server wakes this device for its own message
			await this.#transport.post(envelope, signal);
			await told;
			return hash;
		});
	}

	// Waits for a promise that does not reject, but no longer than some milliseconds.
	async #within(milliseconds: number, promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
		await limited([signal], undefined, async () => {
			const over = new AbortController();
			await Promise.race([promise, this.#asker.config.clock.sleep(milliseconds, over.signal)]).finally(() => over.abort());
		});
	}

	/**
	 * The route by which the server rings the device over a stream of its own, with no push
	 * service; `provider` is the server's name for it. Put it before the others, which are
	 * rung when the device is not there.
	 */
	directRoute(provider = 'direct'): Route {
		return { provider, address: this.registrationKey, keys: [] };
	}

	/**
	 * Stays connected, and hands the body of each wake-up that the server rings to `ring`,
	 * which usually gives it to {@link receive}, until the signal ends it or `ring` throws. A
	 * stream that is lost is opened again by itself, and the device is then rung for what it
	 * missed. It rejects when the server does not wake the device: register, and listen again.
	 */
	async listen(ring: (body: string) => Promise<void> | void, options: ListenOptions = {}): Promise<void> {
		const { clock } = this.#asker.config;
		await limited([this.#life.signal, options.signal], undefined, async (signal) => {
			for (let pause = firstListenPause; ; pause = Math.min(2 * pause, maxListenPause)) {
				const began = clock.now();
				try {
					for await (const body of this.#asker.rings(signal, () => options.changed?.(true))) {
						pause = firstListenPause;
						try {
							await ring(body);
						} catch (error) {
							throw new RingFailed(error);
						}
					}
				} catch (error) {
					if (signal.aborted) {
						throw signal.reason;
					}
					if (error instanceof RingFailed) {
						throw error.error;
					}
					const inactive = error instanceof DeviceError && error.code === 'inactive';
					if (inactive || isRefused(error, Code.notRegistered) || isRefused(error, Code.retired) || !this.#transport.ring) {
						throw error;
					}
				}
				options.changed?.(false);
				if (clock.now() - began > maxListenPause) {
					pause = firstListenPause; // it stood, so that what ended it is not what was in the way before
				}
				await clock.sleep(pause / 2 + (Math.random() * pause) / 2, signal);
			}
		});
	}

	/**
	 * What convicts the server of having withheld a wake-up, for everybody to verify (`encodeEvidence`);
	 * undefined: there is none. The newest is kept with the account. A device finds it by itself: a history brings what it
	 * was not woken for, and the heads of the server's ledger, which replies carry, either have that or not.
	 */
	evidence(): Promise<Evidence | undefined> {
		return this.#account.read((s) => s.evidence);
	}

	/**
	 * Counts the envelopes that a history brought, that the server's ledger did not have, and of which that ended
	 * before it had to. An honest server does so now and then; one that withholds and will not be convicted has to do it
	 * each time.
	 */
	unproved(): Promise<number> {
		return this.#account.read((s) => s.unproved ?? 0);
	}

	#takeHead(s: State, told: Ledger, pushKey: PublicKey): void {
		if (!isHeadSigned(told, ledgerId(told.secret), pushKey, told.signature)) {
			return; // the server has not signed it
		}
		const cursor = decodeCursor(s.cursor);
		const read = equal(cursor.log, told.log) ? cursor.seq : 0n;
		const { state, unproved, evidence } = takeHead(s.ledger, told, this.#chats, pushKey, read);
		s.ledger = state;
		s.unproved = (s.unproved ?? 0) + unproved;
		if (evidence) {
			s.evidence = evidence;
		}
	}

	/** Ends what is under way, which rejects with a DeviceError, `closed`, and every later call. The registration stays. */
	close(): void {
		this.#life.abort(new DeviceError('closed', 'the device was closed'));
	}

	async #event(options: AskOptions, task: (event: Draft, o: AskOptions) => Promise<void>): Promise<DeviceEvent> {
		return this.#inTurn(options, async (o) => {
			const event = new Draft();
			await event.attempt(() => task(event, o));
			return this.#delivery.hand(event);
		});
	}

	// Waits for the turn to ask the server.
	async #inTurn<T>(options: AskOptions, task: (o: AskOptions) => Promise<T>): Promise<T> {
		return limited([this.#life.signal, options.signal], undefined, async (signal) => {
			const before = this.#turn;
			let leave!: () => void;
			this.#turn = new Promise((resolve) => (leave = resolve));
			try {
				await until(signal, before);
			} catch (error) {
				void before.then(leave); // who comes next waits for those before all the same
				throw error;
			}
			try {
				return await task({ ...options, signal });
			} finally {
				leave();
			}
		});
	}

	// Reads a body in the form that wake-ups of the registration have.
	async #open(body: string): Promise<Payload> {
		const { plain, asked } = await this.#account.read((s) => ({ plain: s.plain, asked: s.asked }));
		let refused: unknown;
		for (const key of [!plain || asked === 'sealed' ? this.#account.sealKey : null, plain || asked === 'plain' ? undefined : null]) {
			try {
				if (key !== null) {
					return await openPayload(body, key);
				}
			} catch (error) {
				refused = error;
			}
		}
		throw refused;
	}

	// Answers a challenge of this server for this account. Any other was asked for by
	// somebody else, perhaps by this server at another.
	async #confirm(challenge: Payload, options: AskOptions): Promise<void> {
		const pushKeys = await this.#account.pushKeys(); // it may have been on its way when the server went on
		const pushKey = pushKeys.find((key) => namesBoth(challenge, key, this.registrationKey));
		if (!pushKey) {
			throw new ProtocolError('receiver', 'the challenge is for another account, or of another server');
		}
		const body = confirmation(challenge.code, pushKey, this.registrationKey);
		accepted('answering the challenge', await this.#asker.ask(body, options));
	}

	// Sends a request that carries a version. The version is kept before it is used, so that
	// it is never used twice; one that the server finds stale is raised above the server's
	// once. What the change means is noted when the server has answered, by `answered`;
	// `sent` notes beforehand what may be so from now on.
	async #change(
		body: (version: bigint) => RequestBody,
		options: AskOptions,
		notes: { sent: (s: State) => void; answered: (s: State, done: boolean) => void },
	): Promise<void> {
		for (let again = false; ; again = true) {
			const now = this.#asker.now();
			encodeRequest(newRequest(body(1n), now)); // nothing is noted for what cannot be said
			const version = await this.#account.change((s) => {
				notes.sent(s);
				return nextVersion(s, now.getTime());
			});
			const request = body(version);
			const { reply } = await this.#asker.ask(request, options);
			if (reply.code === Code.stale && !again) {
				continue; // the reply told the server's version
			}
			await this.#account.change((s) => notes.answered(s, reply.code === Code.ok));
			if (reply.code !== Code.ok) {
				throw refusalOf(request.kind, reply);
			}
			return;
		}
	}
}

function accepted(what: string, { reply }: Exchange): void {
	if (reply.code !== Code.ok) {
		throw refusalOf(what, reply);
	}
}

function hashOf(hash: string): Uint8Array {
	const bytes = fromHex(hash.slice(0, 100), 'hash');
	if (bytes.length !== hashSize) {
		throw malformed(`hash of ${bytes.length} bytes, not ${hashSize}`);
	}
	return bytes;
}

function mailKeyOf({ mail }: DeviceConfig): (() => Promise<MailKey>) | undefined {
	if (!mail) {
		return undefined;
	}
	if ('nodeKey' in mail) {
		return () => Promise.resolve({ to: mail.nodeKey });
	}
	let key: Promise<MailKey> | undefined; // derived when it is needed first
	return () => (key ??= keyFromPassword(mail.password).then((derived) => ({ key: derived })));
}
