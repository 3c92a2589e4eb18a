// A mailserver in memory, reached without a network: what the protocol asks of one as far
// as a device can tell, and the faults that a test gives it.
import { equal, hex } from '../src/bytes.js';
import { isProtocolError } from '../src/errors.js';
import { type Clock, type ExchangeOptions, type Frame, type Transport } from '../src/device/index.js';
import * as mail from '../src/mail/index.js';
import * as push from '../src/push/index.js';
import { encodeEnvelopes, Envelope, openAsymmetric, publicKeyOf } from '../src/whisper/index.js';
import { filled } from './support.js';

/** A clock that a test moves, and on which nobody waits for real. */
export class TestClock implements Clock {
	time = 1_800_000_000_000;
	/** How far this clock is ahead of the server's, in milliseconds. */
	ahead = 0;
	slept = 0;

	now(): number {
		return this.time + this.ahead;
	}

	// Pauses are over at once. Timeouts never come, unless a test wants them to.
	timeouts = false;

	async sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
		this.slept += milliseconds;
		if (milliseconds >= 8000 && !this.timeouts && !this.longSleeps) {
			await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
		}
	}

	/** Whether pauses of 8 s and more are over at once too. */
	longSleeps = false;
}

interface Registered {
	register: push.Register;
	state: number;
	version: bigint;
	channels: Map<string, push.Channel>;
	code: Uint8Array | undefined;
	seq: bigint;
	epoch: bigint;
	waiting: Uint8Array[];
	seen: string[];
	/** Dismissals that the device has not said came. */
	owed: Uint8Array[];
}

export class TestServer implements Transport {
	key = filled(32, 0x45);
	pushKey = publicKeyOf(this.key);
	/** Push keys that it had, which it opens requests with too. */
	readonly formerKeys: Uint8Array[] = [];
	/** What its replies lead to the next key with. */
	successions: push.Succession[] = [];
	/** Whether it refuses former keys, and whether the refusal leads to the next key. */
	retired: 'no' | 'leads' | 'leaked' = 'no';
	#by = this.key; // that the request was made for
	readonly clock: TestClock;
	log = filled(16, 0xd0);
	/** In the order of the log; the sequence is the index plus one. */
	readonly archive: Envelope[] = [];
	readonly accounts = new Map<string, Registered>();
	/** Bodies that the push service was given, oldest first. */
	readonly pushes: string[] = [];
	readonly requests: push.Request[] = [];
	readonly mailRequests: mail.MailRequest[] = [];
	readonly posted: Envelope[] = [];
	readonly notified: push.Notify[] = [];
	limits: push.Limits = { routes: 4n, channels: 1000n, lifetime: 2592000n, fetch: 64n, pow: 0 };
	/** How many envelopes a page of mail has. */
	page = 100;
	/** Each is asked for the next request, in turn, before it is answered: it throws, or answers with frames itself, or with undefined. */
	readonly faults: ((request: push.Request | undefined, envelope: Envelope, options: ExchangeOptions) => Frame[] | undefined | Promise<Frame[] | undefined>)[] = [];
	/** Whether to answer as a server of before 2027. */
	old = false;
	#epochs = 0n;

	constructor(clock: TestClock) {
		this.clock = clock;
	}

	async *exchange(envelope: Envelope, options: ExchangeOptions): AsyncGenerator<Frame> {
		let opened: Awaited<ReturnType<typeof push.openRequest>> | undefined;
		for (const key of [this.key, ...this.formerKeys]) {
			opened ??= await push.openRequest(envelope, key).catch((error: unknown) => {
				if (isProtocolError(error)) {
					return undefined;
				}
				throw error;
			});
			if (opened) {
				this.#by = key;
				break;
			}
		}
		if (opened) {
			this.requests.push(opened.request);
		}
		const fault = this.faults.shift();
		const frames = await fault?.(opened?.request, envelope, options);
		if (frames) {
			yield* frames;
			return;
		}
		yield* opened ? await this.answer(opened.request, opened.signer, envelope) : await this.#answerMail(envelope);
	}

	async post(envelope: Envelope): Promise<void> {
		this.posted.push(envelope);
		await this.deliver(envelope);
	}

	/** Archives an envelope and wakes who listens to its topic. */
	async deliver(envelope: Envelope): Promise<void> {
		this.archive.push(envelope);
		for (const account of this.accounts.values()) {
			if (account.channels.has(hex(envelope.topic)) && !account.seen.includes(hex(envelope.hash))) {
				account.waiting.unshift(envelope.hash);
				account.seq++;
			}
		}
		await this.wake();
	}

	/** Pushes to everybody for whom something waits. */
	async wake(): Promise<void> {
		for (const account of this.accounts.values()) {
			if (account.state === push.State.active && account.waiting.length > 0) {
				await this.push(account, {
					...push.emptyPayload,
					kind: push.PayloadKind.messages,
					seq: account.seq,
					more: account.waiting.length > push.maxHashes,
					hashes: account.waiting.slice(0, push.maxHashes),
				});
			}
		}
	}

	async push(account: Registered, payload: push.Payload): Promise<void> {
		const { plain, sealKey } = account.register;
		this.pushes.push(plain ? push.plainPayload(payload) : await push.sealPayload(payload, sealKey));
	}

	only(): Registered {
		const [account] = this.accounts.values();
		return account!;
	}

	/** The frame of a reply. */
	async frame(reply: push.Reply, to: Uint8Array): Promise<Frame> {
		const told = this.successions.length > 0 && this.retired !== 'leaked' ? { ...reply, successions: this.successions } : reply;
		const sealed = await push.sealReply(this.old ? { ...told, to: new Uint8Array(0) } : told, this.#by, to);
		return { kind: 'envelope', bytes: sealed.raw };
	}

	/** Gives it another push key, made of a byte. */
	rotate(byte: number): push.Succession {
		const next = filled(32, byte);
		const succession = push.newSuccession(this.key, next, 1_800_000_000n, 1_801_209_600n);
		this.successions.push(succession);
		this.formerKeys.unshift(this.key);
		[this.key, this.pushKey] = [next, publicKeyOf(next)];
		return succession;
	}

	async answer(request: push.Request, signer: Uint8Array, envelope?: Envelope): Promise<Frame[]> {
		const account = this.accounts.get(hex(signer));
		const reply = (code: number, text = '', body?: push.ReplyBody): push.Reply => {
			const now = this.accounts.get(hex(signer));
			return { ...push.emptyReply, id: request.id, code, text, state: now?.state ?? push.State.none, body };
		};
		const refuse = async (code: number, text: string, body?: push.ReplyBody) => [await this.frame(reply(code, text, body), signer)];
		if (this.retired !== 'no' && !equal(request.server, this.pushKey)) {
			return refuse(push.Code.retired, 'the server has another push key');
		}
		if (Math.abs(Number(request.issued) - this.clock.time) > 300_000) {
			return refuse(push.Code.clock, 'your clock is wrong', { kind: 'clock', now: BigInt(this.clock.time) });
		}
		if (envelope && envelope.pow(new Date(envelope.sent * 1000)) < this.limits.pow) {
			return refuse(push.Code.work, 'work more', this.#told(account));
		}
		const { body } = request;
		switch (body.kind) {
			case 'register':
			case 'channels':
			case 'unregister':
				if (account && body.version <= account.version) {
					return refuse(push.Code.stale, 'a greater version, please', this.#told(account));
				}
		}
		switch (body.kind) {
			case 'register': {
				const renewed = account && JSON.stringify(account.register.routes.map(String)) === JSON.stringify(body.routes.map(String));
				const next: Registered = {
					register: body, version: body.version, channels: new Map(body.channels.map((c) => [hex(c.topic), c])),
					state: renewed ? account.state : push.State.waiting, code: renewed ? undefined : filled(16, 0xc0),
					seq: account?.seq ?? 0n, epoch: account?.epoch ?? ++this.#epochs, waiting: account?.waiting ?? [], seen: account?.seen ?? [], owed: account?.owed ?? [],
				};
				this.accounts.set(hex(signer), next);
				if (next.code) {
					await this.push(next, { ...push.emptyPayload, kind: push.PayloadKind.challenge, code: next.code, server: this.pushKey, account: signer });
				}
				return [await this.frame(reply(push.Code.ok, '', this.#told(next)), signer)];
			}
			case 'notify':
				this.notified.push(body);
				return [await this.frame(reply(push.Code.ok), signer)];
		}
		if (!account) {
			return refuse(push.Code.notRegistered, 'there is no registration under this key', this.#told(undefined));
		}
		const frames: Frame[] = [];
		switch (body.kind) {
			case 'confirm':
				if (!account.code || !push.proves(body, account.code, this.pushKey, signer)) {
					return refuse(push.Code.wrongCode, 'the code is wrong');
				}
				account.state = push.State.active;
				account.code = undefined;
				break;
			case 'channels':
				account.version = body.version;
				for (const c of body.channels) {
					c.mode === push.Mode.removed ? account.channels.delete(hex(c.topic)) : account.channels.set(hex(c.topic), c);
				}
				break;
			case 'unregister':
				this.accounts.delete(hex(signer));
				break;
			case 'status':
				return [
					await this.frame(
						reply(push.Code.ok, '', {
							...this.#told(account), kind: 'status', seq: account.seq, plain: account.register.plain,
							routes: [], channels: [...account.channels.values()], revoked: [],
						}),
						signer,
					),
				];
			case 'seen':
				account.seen.push(...body.hashes.map(hex));
				account.waiting = account.waiting.filter((h) => !body.hashes.some((other) => equal(h, other)));
				break;
			case 'fetch': {
				const found = body.hashes.map((hash) => this.archive.find((e) => equal(e.hash, hash)));
				const received = [...body.hashes, ...body.received];
				account.waiting = account.waiting.filter((h) => !received.some((other) => equal(h, other)));
				frames.push(...found.flatMap((e) => (e ? [{ kind: 'envelope', bytes: e.raw } as const] : [])));
				const sent = body.hashes.filter((_, i) => found[i]);
				const missing = body.hashes.filter((_, i) => !found[i]);
				let owed: push.Owed | undefined;
				if (body.owed) {
					const { dismissed } = body.owed;
					account.owed = account.owed.filter((h) => !dismissed.some((other) => equal(h, other)));
					owed = { dismissed: account.owed };
				}
				frames.push(await this.frame(reply(push.Code.ok, '', { kind: 'fetch', sent, missing, later: [], owed }), signer));
				return frames;
			}
		}
		return [await this.frame(reply(push.Code.ok, '', this.#told(account)), signer)];
	}

	#told(account: Registered | undefined): push.RegisterReply {
		const standing = { now: BigInt(this.clock.time), epoch: account?.epoch ?? 0n, log: this.log };
		return {
			kind: 'register', version: account?.version ?? 0n, expires: 0n, challenged: false, limits: this.limits,
			...(this.old ? { now: 0n, epoch: 0n, log: new Uint8Array(0) } : standing),
		};
	}

	async #answerMail(envelope: Envelope): Promise<Frame[]> {
		const { payload } = await openAsymmetric(envelope, this.key);
		const request = mail.decodeMailRequest(payload);
		this.mailRequests.push(request);
		const ours = equal(request.cursor.log, this.log);
		const after = ours ? Number(request.cursor.seq) : 0;
		const found: Envelope[] = [];
		let seq = after;
		for (; seq < this.archive.length && found.length < Math.min(this.page, request.limit || Infinity); seq++) {
			const e = this.archive[seq]!;
			const wanted = request.hashes.length > 0 ? request.hashes.some((h) => equal(h, e.hash)) : request.topics.some((t) => equal(t, e.topic));
			if (wanted && e.sent >= request.lower) {
				found.push(e);
			}
		}
		const last = found.at(-1)?.hash ?? filled(32, 0);
		const cursor = { ...mail.since(BigInt(seq)), complete: seq === this.archive.length, log: this.log };
		return [
			...(found.length > 0 ? [{ kind: 'envelope', bytes: encodeEnvelopes(found) } as const] : []),
			{ kind: 'complete', bytes: mail.encodeComplete({ id: envelope.hash, last, cursor, refusal: '' }) },
		];
	}
}

