import { equal, hex, isZero, text } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { defaultPow, maxFetch } from '../push/limits.js';
import { type Limits } from '../push/parts.js';
import { Code, type Ledger, type Reply, type Standing, State as Registration } from '../push/reply.js';
import { encodeRequest, type LedgerQuery, newRequest, type RequestBody } from '../push/request.js';
import { follow, type Succession } from '../push/succession.js';
import { openReply, pushTopic, sealRequest } from '../push/sealing.js';
import { type Envelope } from '../whisper/envelope.js';
import { type PrivateKey, type PublicKey } from '../whisper/keys.js';
import { type Miner } from '../whisper/miner.js';
import { type Clock, limited } from './clock.js';
import { DeviceError, refusalOf } from './errors.js';
import { raise, type State } from './state.js';
import { envelopesOf, type Frame, maxAnswer, type Transport } from './transport.js';

/** How long one request waits for its reply, in milliseconds, connecting included: on 2G the handshakes alone take three seconds. */
const attemptTimeout = 8_000;
/** How often a request is sent, each time under a new id, unless the app says otherwise. */
const defaultAttempts = 4;
/** The wait before the second attempt, in milliseconds; each later one is twice as long, and all are cut by up to a half at random. */
const firstPause = 250;
const maxPause = 10_000;
/** The most proof of work that a device does for a server: about a second of a phone. */
const maxPow = 10;
/** After how long without a word a ring stream is given up, in milliseconds; the server says something every 25 s. */
const maxSilence = 70_000;

/** How long a method may take. */
export interface AskOptions {
	/** Ends what is under way; the method then rejects with the signal's reason. */
	readonly signal?: AbortSignal | undefined;
	/** How often the server is asked before the device gives up; undefined: 4 times, which takes some 35 s at most. */
	readonly attempts?: number | undefined;
}

/** A request and what came back. */
export interface Exchange {
	readonly reply: Reply;
	/** Those of the wanted envelopes that came before the reply. */
	readonly envelopes: readonly Envelope[];
}

/** What an {@link Asker} needs. */
export interface AskerConfig {
	readonly transport: Transport;
	/** That requests are made for, until the server goes on with another. */
	readonly pushKey: PublicKey;
	readonly registrationKey: PrivateKey;
	readonly miner: Miner;
	readonly clock: Clock;
	/** Ends everything, when the device is closed. */
	readonly life: AbortSignal;
	/** Changes the device's state by what a reply told. */
	readonly learn: (change: (s: State) => void) => Promise<void>;
	/** Keeps that the server goes on with another push key, and returns the one that the device's state has. */
	readonly goOn: (path: readonly Succession[]) => Promise<PublicKey>;
	/** What requests ask of the server's ledger; undefined: nothing. */
	readonly ledger?: (() => Promise<LedgerQuery>) | undefined;
	/** Takes a head of the ledger that a reply carries, from the server with a push key. */
	readonly takeHead?: ((s: State, told: Ledger, pushKey: PublicKey) => void) | undefined;
}

/** Sends a device's requests, and knows what the replies of this run told of the server. */
export class Asker {
	readonly config: AskerConfig;
	/** Of the server's clock from ours, in milliseconds. */
	offset = 0;
	/** Whether the offset is known, within a few minutes at least. */
	clockKnown = false;
	/** The identity of the archive's log; none: not told. */
	log: Uint8Array = new Uint8Array(0);
	/** The proof of work that the server asks for. */
	pow = defaultPow;
	/** How many hashes it takes in one request. */
	fetch = maxFetch;
	/** Whether it takes receipts without sending again. */
	receipts = false;
	// One of them must have signed a reply; requests are made for the last.
	readonly #pushKeys: PublicKey[];

	constructor(config: AskerConfig) {
		this.config = config;
		this.#pushKeys = [config.pushKey];
	}

	/** The server's push key, as far as the device knows. */
	get pushKey(): PublicKey {
		return this.#pushKeys.at(-1)!;
	}

	/** The time by the server's clock, as far as it is known. */
	now(): Date {
		return new Date(this.config.clock.now() + this.offset);
	}

	/**
	 * Sends a request until it is answered, and returns the reply whatever its code. It
	 * repeats what may succeed: a lost answer, a busy server, a clock that is off, too little
	 * work. Rejects with a DeviceError, `gave-up`, or with the reason of a signal.
	 */
	async ask(body: RequestBody, options: AskOptions): Promise<Exchange> {
		// Nobody is asked what exceeds the limits of the protocol.
		encodeRequest(newRequest(body, this.now()));
		const wanted = body.kind === 'fetch' ? body.hashes : [];
		return this.persist(body.kind, options, async (signal) => {
			const timeout = new DeviceError('no-reply', `no answer within ${attemptTimeout / 1000} s`);
			const limit = { clock: this.config.clock, milliseconds: attemptTimeout, reason: timeout };
			const exchange = await limited([signal], limit, (s) => this.#once(body, wanted, s));
			const moved = await this.#goOn(exchange.reply);
			if ((moved && exchange.reply.code === Code.retired) || (await this.#again(exchange.reply))) {
				throw refusalOf(body.kind, exchange.reply);
			}
			return exchange;
		});
	}

	/** Asks once, so that the server's time is known. Whatever comes of it, it does not reject but for the signal. */
	async askTime(options: AskOptions): Promise<void> {
		try {
			await this.ask({ kind: 'status' }, { ...options, attempts: 2 });
		} catch (error) {
			if (!(error instanceof DeviceError) || error.code === 'closed') {
				throw error;
			}
		}
	}

	/** Repeats an attempt until it succeeds, with growing pauses. */
	async persist<T>(what: string, options: AskOptions, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
		const { clock, life } = this.config;
		const attempts = options.attempts ?? defaultAttempts;
		return limited([life, options.signal], undefined, async (signal) => {
			for (let tries = 1, pause = firstPause; ; tries++, pause = Math.min(2 * pause, maxPause)) {
				try {
					return await attempt(signal);
				} catch (cause) {
					if (signal.aborted) {
						throw signal.reason;
					}
					if (isFinal(cause)) {
						throw cause;
					}
					if (tries >= attempts) {
						const why = cause instanceof Error ? cause.message : String(cause);
						throw new DeviceError('gave-up', `${what}: gave up after ${tries} attempts: ${why}`, { cause });
					}
				}
				await clock.sleep(pause / 2 + (Math.random() * pause) / 2, signal);
			}
		});
	}

	/** Hands over the frames of an answer, until there are more bytes than an answer may have. */
	async *frames(request: Envelope, wanted: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<Frame> {
		let left = maxAnswer;
		for await (const frame of this.config.transport.exchange(request, { wanted, signal })) {
			signal.throwIfAborted();
			left -= frame.bytes.length;
			if (left < 0) {
				throw new DeviceError('too-much', `more than ${maxAnswer} bytes were sent for one request`);
			}
			yield frame;
		}
	}

	async #once(body: RequestBody, wanted: readonly Uint8Array[], signal: AbortSignal): Promise<Exchange> {
		const { registrationKey, miner } = this.config;
		const ledger = await this.config.ledger?.();
		const request = { ...newRequest(body, this.now()), ...(ledger ? { ledger } : {}) };
		const sealed = await sealRequest(request, registrationKey, this.pushKey, { pow: this.pow, miner, signal, now: this.now() });
		const missing = new Set(wanted.map(hex));
		const envelopes: Envelope[] = [];
		for await (const frame of this.frames(sealed, wanted, signal)) {
			for (const envelope of envelopesOf(frame)) {
				const reply = await this.#reply(envelope);
				if (reply) {
					if (equal(reply.id, request.id)) {
						return { reply, envelopes };
					}
				} else if (missing.delete(hex(envelope.hash))) {
					// The server's word alone is not enough: only what was asked for is taken, once.
					envelopes.push(envelope);
				}
			}
		}
		throw new DeviceError('no-reply', 'the answer ended without a reply');
	}

	/**
	 * Shows the server that the device is there, and hands over the body of each wake-up that
	 * it rings the device with, until the stream ends. Rejects with a DeviceError: the
	 * server's refusal, `inactive`, or `no-reply`.
	 */
	async *rings(signal: AbortSignal, stands: () => void = () => undefined): AsyncGenerator<string> {
		const { transport, registrationKey, miner, clock } = this.config;
		if (!transport.ring) {
			throw new TypeError('the transport has no stream for rings');
		}
		const request = newRequest({ kind: 'status' }, this.now());
		const sealed = await sealRequest(request, registrationKey, this.pushKey, { pow: this.pow, miner, signal, now: this.now() });
		const silence = new AbortController();
		const end = (): void => silence.abort(signal.reason);
		signal.addEventListener('abort', end);
		if (signal.aborted) {
			end();
		}
		let heard = clock.now();
		const watch = async (): Promise<void> => {
			while (!silence.signal.aborted) {
				await clock.sleep(maxSilence / 2, silence.signal);
				if (clock.now() - heard > maxSilence) {
					silence.abort(new DeviceError('no-reply', `nothing was heard for ${maxSilence / 1000} s`));
				}
			}
		};
		void watch();
		try {
			for await (const frame of transport.ring(sealed, silence.signal)) {
				silence.signal.throwIfAborted();
				heard = clock.now();
				for (const envelope of envelopesOf(frame)) {
					const reply = await this.#reply(envelope);
					if (reply && equal(reply.id, request.id)) {
						await this.#standsBy(reply);
						stands();
					} else if (reply?.body?.kind === 'ring' && isZero(reply.id)) {
						yield text(reply.body.body);
					}
				}
			}
		} finally {
			silence.abort();
			signal.removeEventListener('abort', end);
		}
	}

	// Refuses a reply by which the server will not ring.
	async #standsBy(reply: Reply): Promise<void> {
		if ((await this.#goOn(reply)) && reply.code === Code.retired) {
			throw new DeviceError('no-reply', 'the server has another push key'); // and is asked again with it
		}
		if ((await this.#again(reply)) || reply.code !== Code.ok) {
			throw refusalOf('listen', reply);
		}
		if (reply.state !== Registration.active) {
			throw new DeviceError('inactive', `the server does not wake this device: ${reply.reason}`);
		}
	}

	// The reply in an envelope. What is none, or not of the server and for us, may still be
	// an envelope that was asked for.
	async #reply(envelope: Envelope): Promise<Reply | undefined> {
		if (!equal(envelope.topic, pushTopic())) {
			return undefined;
		}
		for (const key of [...this.#pushKeys].reverse()) {
			try {
				return await openReply(envelope, this.config.registrationKey, key);
			} catch (error) {
				if (!isProtocolError(error)) {
					throw error;
				}
				if (error.code !== 'signer') {
					return undefined;
				}
			}
		}
		return undefined;
	}

	// Takes the successions of a reply, and tells whether requests are made for another push key
	// from now on. It is in the store then; while it cannot be kept, the device stays.
	async #goOn(reply: Reply): Promise<boolean> {
		try {
			const path = follow(this.pushKey, reply.successions ?? []);
			if (path.length === 0 && reply.code !== Code.retired) {
				return false;
			}
			const kept = await this.config.goOn(path);
			if (equal(kept, this.pushKey)) {
				return false;
			}
			this.#pushKeys.push(kept);
			return true;
		} catch {
			return false;
		}
	}

	// Learns from a reply, and tells whether the request is to be sent once more.
	async #again(reply: Reply): Promise<boolean> {
		switch (reply.code) {
			case Code.clock:
				if (reply.body?.kind === 'clock') {
					this.offset = Number(reply.body.now) - this.config.clock.now();
				}
				return true;
			case Code.busy:
			case Code.internal:
			case Code.replayed:
				return true;
		}
		await this.#learn(reply);
		return reply.code === Code.work;
	}

	async #learn(reply: Reply): Promise<void> {
		this.clockKnown = true; // within a few minutes at least, or it had been refused
		const { body } = reply;
		const told = body?.kind === 'register' || body?.kind === 'status' ? body : undefined;
		if (told) {
			this.#standing(told, told.limits);
		}
		await this.config.learn((s) => {
			if (reply.ledger) {
				this.config.takeHead?.(s, reply.ledger, this.pushKey);
			}
			s.heard = Math.max(s.heard ?? 0, Math.floor(this.config.clock.now() / 1000));
			if (told) {
				if (told.epoch !== 0n && told.epoch !== s.epoch) {
					[s.epoch, s.seq] = [told.epoch, 0n];
				}
				raise(s, 'version', told.version);
			}
			if (body?.kind === 'status' && reply.code === Code.ok) {
				if (s.seq > body.seq) {
					s.seq = 0n; // of a sequence that is over
				}
				[s.plain, s.asked] = [body.plain, undefined];
			}
			if (reply.state === Registration.none && reply.code !== Code.ok && reply.code !== Code.notRegistered) {
				return; // the server has not looked
			}
			if (reply.state === Registration.none || reply.state === Registration.expired || reply.state === Registration.terminated) {
				[s.epoch, s.seq] = [0n, 0n]; // what comes next counts anew
			}
			s.active = reply.state === Registration.active;
		});
	}

	#standing(told: Standing, limits: Limits): void {
		this.pow = Math.min(Math.max(this.pow, limits.pow), maxPow);
		if (limits.fetch > 0n) {
			this.fetch = limits.fetch < BigInt(maxFetch) ? Number(limits.fetch) : maxFetch;
		}
		if (told.now !== 0n) {
			this.receipts = true;
			this.offset = Number(told.now) - this.config.clock.now();
		}
		if (told.log.length > 0) {
			this.log = told.log.slice();
		}
	}
}

/** Errors that another attempt does not mend. */
function isFinal(error: unknown): boolean {
	return error instanceof DeviceError && ['gave-up', 'closed', 'damaged', 'replaced', 'mail-refused', 'bad-answer'].includes(error.code);
}
