import { concat, source } from '../bytes.js';
import { tooLarge } from '../errors.js';
import { Envelope } from '../whisper/envelope.js';
import { DeviceError } from './errors.js';
import { FrameSplitter } from './frames.js';
import { type DiscoveredServer, readOffer } from './offers.js';
import { type ExchangeOptions, type Frame, maxFrame, type Transport } from './transport.js';

/** The longest offer, in bytes: 32 providers with what apps need of each, and padding. */
const maxOffer = 64 * 1024;
/** The longest frame of a ring stream: a ring is 4 KiB, the first reply 64 at most. */
const maxRing = 128 * 1024;
/** The longest text of a refusal that is read, in bytes. */
const maxText = 512;
/** How long the end of an answer is waited for once its reply has come, in milliseconds, so that the connection can be used again. */
const endPatience = 1000;

// The frames of the protocol's section 13. Others are left out.
const kinds: Record<number, Frame['kind']> = { 0: 'alive', 125: 'complete', 127: 'envelope' };

/** How a {@link DoorTransport} asks. */
export interface DoorOptions {
	/** Asks in place of the global `fetch`. */
	readonly fetch?: typeof globalThis.fetch | undefined;
}

/**
 * Reaches a mailserver over HTTPS, by the door that it opens with `--door`. It sends no
 * cookie, follows no redirect and keeps nothing between two requests.
 */
export class DoorTransport implements Transport {
	/** The origin of the door, such as `https://mail.example.org`. */
	readonly origin: string;
	readonly #fetch: typeof globalThis.fetch;

	/** @param address an address of the door, of which the origin counts */
	constructor(address: string | URL, options: DoorOptions = {}) {
		this.origin = new URL(address).origin;
		// A browser's fetch wants to be called as its own.
		this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
	}

	exchange(request: Envelope, { signal }: ExchangeOptions): AsyncIterable<Frame> {
		return this.#stream('request', request, maxFrame, signal);
	}

	ring(request: Envelope, signal: AbortSignal): AsyncIterable<Frame> {
		return this.#stream('ring', request, maxRing, signal);
	}

	async post(envelope: Envelope, signal: AbortSignal): Promise<void> {
		const response = await this.#ask('whisperpush/post', signal, envelope);
		if (response.status === 422) {
			throw new DeviceError('refused', `the server does not take the message: ${await text(response)}`);
		}
		if (!response.ok) {
			throw await failure(response);
		}
		await response.body?.cancel();
	}

	/** Reads the server's offer: its push key, what its push services need, its limits. Whether the key is the one that is meant, the app must know. */
	async offer(options: { signal?: AbortSignal; now?: Date } = {}): Promise<DiscoveredServer> {
		const response = await this.#ask('.well-known/whisperpush', options.signal);
		if (!response.ok) {
			throw await failure(response);
		}
		return readOffer(Envelope.decode(await bounded(response, maxOffer)), options.now);
	}

	#ask(path: string, signal: AbortSignal | undefined, envelope?: Envelope): Promise<Response> {
		return this.#fetch(`${this.origin}/${path}`, {
			// Without a type a browser need not ask first whether it may.
			...(envelope ? { method: 'POST', body: source(envelope.raw) } : {}),
			signal: signal ?? null,
			cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
		});
	}

	async *#stream(path: string, request: Envelope, most: number, signal: AbortSignal): AsyncGenerator<Frame> {
		const response = await this.#ask('whisperpush/' + path, signal, request);
		if (!response.ok || !response.body) {
			throw await failure(response);
		}
		const splitter = new FrameSplitter(most);
		const reader = response.body.getReader();
		let ended = false;
		try {
			for (;;) {
				const { done, value } = await reader.read();
				if (done) {
					ended = true;
					break;
				}
				for (const { kind, bytes } of splitter.push(value)) {
					const known = kinds[kind];
					if (known) {
						yield { kind: known, bytes };
					}
				}
			}
			if (!splitter.whole) {
				throw new DeviceError('no-reply', 'the answer broke off in the middle of a frame');
			}
		} finally {
			if (!ended) {
				void finish(reader);
			}
		}
	}
}

/** Lets an answer end that nobody reads any more, which it usually does at once, and ends it otherwise. */
async function finish(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
	const cut = (): void => void reader.cancel().catch(() => undefined);
	const timer = setTimeout(cut, endPatience);
	try {
		if (!(await reader.read()).done) {
			cut();
		}
	} catch {
		// it broke off, which nobody waits for
	} finally {
		clearTimeout(timer);
	}
}

/** Makes the error of an answer that is none. */
const failure = async (response: Response): Promise<DeviceError> =>
	new DeviceError('no-reply', `the door answers ${response.status}: ${await text(response)}`);

/** The beginning of what a server says in words. */
async function text(response: Response): Promise<string> {
	const bytes = await bounded(response, maxText).catch(() => new Uint8Array(0));
	return new TextDecoder().decode(bytes).replace(/\p{Cc}+/gu, ' ').trim();
}

/** The body of a response, which is refused if it is longer. */
async function bounded(response: Response, most: number): Promise<Uint8Array> {
	const parts: Uint8Array[] = [];
	let size = 0;
	const reader = response.body?.getReader();
	for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
		size += next.value.length;
		if (size > most) {
			void reader?.cancel();
			throw tooLarge(`answer of more than ${most} bytes`);
		}
		parts.push(next.value);
	}
	return concat(...parts);
}
