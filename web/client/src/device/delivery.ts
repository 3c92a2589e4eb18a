import { equal, fromHex, hex, hex0x } from '../bytes.js';
import { type Proof } from '../mail/complete.js';
import { type Cursor, decodeCursor, encodeCursor, isZeroCursor, zeroCursor } from '../mail/cursor.js';
import { everythingSince, exactly, maxMailHashes, maxTopics } from '../mail/request.js';
import { type Payload, PayloadKind } from '../push/payload.js';
import { Code } from '../push/reply.js';
import { mergeBlooms, topicBloom } from '../whisper/bloom.js';
import { type Envelope } from '../whisper/envelope.js';
import { type Topic } from '../whisper/topic.js';
import { type Account } from './account.js';
import { type Asker, type AskOptions, type Exchange } from './ask.js';
import { type Chat, openWith, type Preview, renamed, topicsOf } from './chat.js';
import { collect, type MailKey } from './collect.js';
import { DeviceError, isRefused, refusalOf } from './errors.js';
import { isPageSigned } from './evidence.js';
import { doubt } from './ledger.js';
import { Inbox, maxDismissed, maxWaiting, raise, type State } from './state.js';

/** How much older than the device's first start an envelope may be and still belong to its history, in seconds: the longest usual lifetime, and what a server lets a clock be off. */
const historySlack = 600;
/** How far back a first history goes at most, in seconds: the clock of a device that was just switched on may say anything. */
const maxFirstHistory = 7 * 24 * 3600;
/** How many envelopes are asked for at once. */
const historyPage = 256;

/** A further envelope of a message. In hexadecimal with 0x. */
export interface Copy {
	/** Of the envelope. */
	readonly hash: string;
	/** As `Preview.message`. */
	readonly message: string;
}

/** What a push meant, or what was found without one. */
export interface DeviceEvent {
	/** Of the push, see `PayloadKind`; `messages` where there was none. */
	readonly kind: number;
	/** Of the push; 0 where there was none. */
	readonly seq: bigint;
	/** The messages that the app has not said it has (`shown`), oldest first. */
	readonly previews: readonly Preview[];
	/** Envelopes whose notification is to be removed, for they were read on another device. In hexadecimal with 0x. */
	readonly dismissed: readonly string[];
	/** Envelopes of the device's topics that none of its chats can open, as of a chat whose key comes later; only with `DeviceConfig.complete`. */
	readonly unopened: readonly Envelope[];
	/** Further envelopes of messages that the app has or waits for; only with `DeviceConfig.complete`. */
	readonly copies: readonly Copy[];
	/** Envelopes that the push named and the server no longer has. */
	readonly missing: readonly string[];
	/** Pushes before this one were lost; what they told of is among the previews all the same. */
	readonly gap: boolean;
	/** More waits than was given at once: say that these were shown, and ask for the history. */
	readonly more: boolean;
	/** What was in the way of the rest, which comes later in the same way; undefined: nothing was. */
	readonly error: unknown;
}

/** An event while it is put together. */
export class Draft {
	readonly kind: number;
	readonly seq: bigint;
	readonly previews = new Map<string, Preview>();
	readonly dismissed: string[] = [];
	readonly unopened = new Map<string, Envelope>();
	readonly copies: Copy[] = [];
	readonly missing: string[] = [];
	gap = false;
	more = false;
	error: unknown;

	constructor(kind: number = PayloadKind.messages, seq = 0n) {
		this.kind = kind;
		this.seq = seq;
	}

	/** Does something, and keeps its error if there was none before. Tells whether it went well. */
	async attempt(task: () => Promise<void>): Promise<boolean> {
		try {
			await task();
			return true;
		} catch (error) {
			this.error ??= error;
			return false;
		}
	}
}

/** What a {@link Delivery} works with. */
export interface DeliveryParts {
	readonly account: Account;
	readonly asker: Asker;
	readonly mailKey: (() => Promise<MailKey>) | undefined;
	readonly chats: () => readonly Chat[];
	/** See `DeviceConfig.complete`. */
	readonly complete: boolean;
}

const outOfRoom = new DeviceError('too-much', 'too many messages wait for the app to say that it has them');

/** Brings messages to the app: what pushes told of, and what they did not. */
export class Delivery {
	readonly #parts: DeliveryParts;
	/** What waits in the state and was handed to the app in this run: hashes. */
	readonly #given = new Set<string>();

	constructor(parts: DeliveryParts) {
		this.#parts = parts;
	}

	/** Hands an event to the app. */
	async hand(draft: Draft): Promise<DeviceEvent> {
		const previews = [...draft.previews.values()].sort((a, b) => a.sent.getTime() - b.sent.getTime());
		for (const { hash } of previews) {
			this.#given.add(hash.slice(2));
		}
		for (const hash of draft.unopened.keys()) {
			this.#given.add(hash.slice(2));
		}
		if (this.#given.size > 2 * maxWaiting) {
			// Another tab says for the app that it has what is given here.
			const waiting = new Set(await this.#parts.account.read((s) => s.waiting.map((w) => hex(w.hash))));
			this.#given.forEach((hash) => waiting.has(hash) || this.#given.delete(hash));
		}
		const { kind, seq, dismissed, copies, missing, gap, more, error } = draft;
		return { kind, seq, previews, dismissed, unopened: [...draft.unopened.values()], copies, missing, gap, more, error };
	}

	/** Takes messages for shown, or read elsewhere. */
	async shown(hashes: readonly Uint8Array[]): Promise<void> {
		await this.#parts.account.inbox((inbox) => hashes.forEach((hash) => inbox.shown(hash)));
		hashes.forEach((hash) => this.#given.delete(hex(hash)));
	}

	/** Which of these envelopes were read on another device, as far as the device was told. */
	async readElsewhere(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
		const { elsewhere, known } = await this.#parts.account.read(({ elsewhere, known }) => ({ elsewhere, known }));
		const marks = new Inbox({ known, elsewhere } as State);
		return hashes.filter((hash) => marks.wasRead(hash));
	}

	/** Adds to an event what was read on another device, whether a push or a reply says so. What the event shows of it is not shown. */
	async dismiss(hashes: readonly Uint8Array[], event: Draft): Promise<void> {
		const { account, complete } = this.#parts;
		await (complete ? account.inbox((inbox) => hashes.forEach((hash) => inbox.readElsewhere(hash))) : this.shown(hashes));
		await this.#parts.account.change((s) => {
			const came = s.dismissed ?? [];
			s.dismissed = [...came, ...hashes.filter((hash) => !came.some((h) => equal(h, hash)))].slice(-maxDismissed);
		});
		for (const hash of hashes.map(hex0x)) {
			const held = event.previews.get(hash);
			if (held && complete) {
				event.previews.set(hash, { ...held, read: true });
			} else {
				event.previews.delete(hash);
			}
			if (!event.dismissed.includes(hash)) {
				event.dismissed.push(hash);
			}
		}
	}

	// Asks for envelopes, and for what else the server owes the device: dismissals that were
	// lost. It says which came, which the server knows then.
	async #ask(hashes: readonly Uint8Array[], received: readonly Uint8Array[], event: Draft, options: AskOptions): Promise<Exchange> {
		const { account, asker } = this.#parts;
		const dismissed = await account.read((s) => (s.dismissed ?? []).slice(0, asker.fetch));
		const exchange = await asker.ask({ kind: 'fetch', hashes, received, owed: { dismissed } }, options);
		const { reply } = exchange;
		if (reply.code === Code.ok && reply.body?.kind === 'fetch') {
			if (dismissed.length > 0) {
				await account.change((s) => (s.dismissed = (s.dismissed ?? []).filter((hash) => !dismissed.some((h) => equal(h, hash)))));
			}
			await this.dismiss(reply.body.owed?.dismissed ?? [], event);
		}
		return exchange;
	}

	/**
	 * Fetches what a push tells of. Where pushes were lost, or more waits than fits, it asks
	 * for everything since the cursor besides: the same envelopes, and those that the push
	 * had no room for.
	 */
	async messages(payload: Payload, event: Draft, options: AskOptions): Promise<void> {
		// That something may be missing is remembered until a history has proved the
		// contrary. The lost pushes named nothing that this one does not repeat, unless it has
		// been fetched by another way.
		const behind = await this.#parts.account.change((s) => {
			event.gap = payload.seq > s.seq + 1n;
			return (s.behind ||= event.gap || payload.more);
		});
		let hashes = payload.hashes;
		if (payload.more) {
			await event.attempt(() => this.history(event, options));
			if (this.#parts.asker.receipts) {
				hashes = hashes.filter((hash) => !event.previews.has(hex0x(hash)));
			} // else only fetching them is a receipt
		}
		const fetched = await event.attempt(async () => {
			await this.fetch(hashes, event, options);
			await this.#parts.account.change((s) => raise(s, 'seq', payload.seq));
		});
		if (fetched && behind && !payload.more) {
			await new Draft().attempt(() => this.history(event, options)); // else the next push tries again
		}
	}

	/** Adds to an event what the server has under these hashes, and what was left over from before. */
	async fetch(hashes: readonly Uint8Array[], event: Draft, options: AskOptions): Promise<void> {
		const { account, asker } = this.#parts;
		// The request is a receipt: what it asks for, the server names in no other push. So
		// that is kept before. What was shown is asked for again all the same, as the receipt
		// for it may have been lost.
		let wanted = await account.inbox((inbox, s) => {
			const all = unique([...hashes, ...this.#leftOver(s.waiting, event)]);
			const left = new Set(inbox.await(all, this.#given).map(hex));
			if (left.size > 0) {
				s.behind = event.more = true;
			}
			return all.filter((hash) => !left.has(hex(hash)));
		});
		while (wanted.length > 0) {
			const part = wanted.slice(0, asker.fetch);
			const { reply, envelopes } = await this.#ask(part, [], event, options);
			if (reply.code !== Code.ok) {
				throw refusalOf('fetch', reply);
			}
			const { sent, missing } = reply.body?.kind === 'fetch' ? reply.body : { sent: [], missing: [] };
			const [came, gone] = [sent, missing].map((list) => new Set(list.map(hex))) as [Set<string>, Set<string>];
			const settled = part.filter((hash) => came.has(hex(hash)) || gone.has(hex(hash)));
			if (settled.length === 0) {
				throw new DeviceError('bad-answer', `fetch of ${part.length} envelopes: the reply names none of them`);
			}
			await this.deliver(envelopes, event);
			const dropped = part.filter((hash) => gone.has(hex(hash)));
			await account.inbox((inbox) => dropped.forEach((hash) => inbox.drop(hash)));
			event.missing.push(...dropped.map(hex0x));
			wanted = wanted.filter((hash) => !settled.includes(hash));
		}
	}

	/**
	 * Adds to an event what was left over from before, and what the mailserver archived since
	 * the cursor. The cursor moves behind every page with all of it in the state, in one
	 * write: so an error costs a page at most, and nothing is passed over.
	 */
	async history(event: Draft, options: AskOptions): Promise<void> {
		const { account, asker, mailKey, chats } = this.#parts;
		const topics = topicsOf(chats());
		if (topics.length === 0) {
			return;
		}
		if (!mailKey) {
			throw new TypeError('the history needs the mailserver\'s password or its node key: give DeviceConfig.mail');
		}
		await this.#recover(event, options);
		const { cursor, lower } = await this.#place(options);
		const proved = await account.read((s) => s.ledger !== undefined);
		const request = {
			...everythingSince(cursor),
			lower,
			limit: historyPage,
			...(proved ? { prove: true as const } : {}),
			// One cursor serves one question: with very many topics it is for whatever the
			// filter of them covers, which is some traffic more.
			...(topics.length > maxTopics ? { bloom: mergeBlooms(topics.map(topicBloom)) } : { topics }),
		};
		const fresh: Uint8Array[] = [];
		try {
			await collect(asker, await mailKey(), request, options, async (page) => {
				fresh.push(...(await this.deliver(page.envelopes, event, page.cursor)));
				await this.#answered(page.envelopes, page.cursor, page.proof);
			});
			await account.change((s) => (s.behind = false));
		} catch (error) {
			if (error !== outOfRoom) {
				throw error;
			}
			event.more = true;
		} finally {
			// A device of several asks in any case, for dismissals that were lost; upon a push its fetch does.
			const { active, grouped } = await account.read((s) => ({ active: s.active, grouped: s.grouped === true }));
			if (active && (fresh.length > 0 || (grouped && event.seq === 0n))) {
				await new Draft().attempt(() => this.#receipt(fresh, event, options)); // else the next push names them, and fetching them is the receipt
			}
		}
	}

	// Takes note of what the mailserver has by its own word, which its ledger has to have as well.
	async #answered(envelopes: readonly Envelope[], { log, seq }: Cursor, proof: Proof | undefined): Promise<void> {
		const { account, asker } = this.#parts;
		if (!proof || envelopes.length === 0) {
			return;
		}
		const page = { log: log.slice(), after: proof.after, upTo: seq, at: proof.at, hashes: envelopes.map((e) => e.hash.slice()), signature: proof.signature };
		if (isPageSigned(page, (by) => by(asker.pushKey))) {
			await account.change((s) => s.ledger && doubt(s.ledger, page, envelopes));
		}
	}

	/** Adds to an event what the mailserver archived since a time on these topics, and leaves the cursor of the history where it is. */
	async past(since: Date, topics: readonly Topic[], event: Draft, options: AskOptions): Promise<void> {
		const { account, asker, mailKey } = this.#parts;
		if (!mailKey) {
			throw new TypeError('the past needs the mailserver\'s password or its node key: give DeviceConfig.mail');
		}
		const fresh: Uint8Array[] = [];
		const lower = Math.max(Math.floor(since.getTime() / 1000) - historySlack, 0);
		for (let at = 0; at < topics.length && !event.more; at += maxTopics) {
			const request = { ...everythingSince(zeroCursor, topics.slice(at, at + maxTopics)), lower, limit: historyPage };
			try {
				await collect(asker, await mailKey(), request, options, async (page) => {
					const fits = await account.inbox((inbox) => inbox.fits(page.envelopes.length, this.#given));
					if (!fits) {
						throw outOfRoom;
					}
					fresh.push(...(await this.deliver(page.envelopes, event)));
				});
			} catch (error) {
				if (error !== outOfRoom) {
					throw error;
				}
				event.more = true;
			}
		}
		if (fresh.length > 0 && (await account.read((s) => s.active))) {
			await new Draft().attempt(() => this.#receipt(fresh, event, options));
		}
	}

	/**
	 * Adds previews of envelopes to an event, and moves the cursor if one is given, in one
	 * write. Returns those that the app was not handed before in this run.
	 */
	async deliver(envelopes: readonly Envelope[], event: Draft, cursor?: Cursor): Promise<Uint8Array[]> {
		const opened: (readonly [Envelope, Uint8Array, Preview | undefined])[] = [];
		for (const e of envelopes) {
			opened.push([e, e.message(), await openWith(this.#parts.chats(), e)]);
		}
		const fresh: Uint8Array[] = [];
		const found: Preview[] = [];
		const closed: Envelope[] = [];
		const copies: Copy[] = [];
		const { complete } = this.#parts;
		const fits = await this.#parts.account.inbox((inbox, s) => {
			if (cursor) {
				if (!inbox.fits(envelopes.length, this.#given)) {
					return false;
				}
				s.cursor = encodeCursor(cursor);
			}
			for (const [e, message, preview] of opened) {
				if (!preview && !complete) {
					inbox.drop(e.hash);
					continue;
				}
				const hash = inbox.arrived(e.hash, message);
				const copy = !hash || !equal(hash, e.hash);
				if (complete && preview && copy) {
					copies.push({ hash: hex0x(e.hash), message: hex0x(message) });
				}
				if (hash && !event.previews.has(hex0x(hash)) && !event.unopened.has(hex0x(hash)) && (preview || !copy)) {
					if (preview) {
						found.push({ ...renamed(preview, hex0x(hash)), read: inbox.wasRead(hash) || inbox.wasRead(e.hash) });
					} else {
						closed.push(e);
					}
					if (!this.#given.has(hex(hash))) {
						fresh.push(hash);
					}
				}
			}
			return true;
		});
		if (!fits) {
			throw outOfRoom;
		}
		closed.forEach((e) => event.unopened.set(hex0x(e.hash), e));
		event.copies.push(...copies);
		found.forEach((preview) => event.previews.has(preview.hash) || event.previews.set(preview.hash, preview));
		return fresh;
	}

	// What the app was not handed in this run, and waits from before: it was fetched, or
	// about to be, when the app ended or the link broke.
	#leftOver(waiting: readonly { hash: Uint8Array }[], event: Draft): Uint8Array[] {
		return waiting.map((w) => w.hash).filter((hash) => !this.#given.has(hex(hash)) && !event.previews.has(hex0x(hash)) && !event.unopened.has(hex0x(hash)));
	}

	// Adds to an event what was left over from before. It asks as a push would or, if the
	// server does not know the registration any more, as for any mail.
	async #recover(event: Draft, options: AskOptions): Promise<void> {
		const { account, asker, mailKey } = this.#parts;
		const left = await account.read((s) => this.#leftOver(s.waiting, event));
		if (left.length === 0) {
			return;
		}
		try {
			await this.fetch([], event, options);
		} catch (error) {
			if (!isRefused(error)) {
				throw error;
			}
			for (let at = 0; at < left.length; at += maxMailHashes) {
				const part = left.slice(at, at + maxMailHashes);
				await collect(asker, await mailKey!(), exactly(part), options, async (page) => {
					await this.deliver(page.envelopes, event);
				});
				// The server does not have the others any more.
				await account.inbox((inbox) =>
					part.filter((hash) => !event.previews.has(hex0x(hash)) && !event.unopened.has(hex0x(hash))).forEach((hash) => inbox.drop(hash)),
				);
			}
		}
	}

	// Where the history goes on: behind the cursor or, where there is none that means
	// something to the server, at the device's first start.
	async #place(options: AskOptions): Promise<{ cursor: Cursor; lower: number }> {
		const { account, asker } = this.#parts;
		const state = await account.read(({ cursor, begin, since }) => ({ cursor, begin, since }));
		const cursor = decodeCursor(state.cursor);
		const elsewhere = !equal(cursor.log, zeroCursor.log) && asker.log.length > 0 && !equal(cursor.log, asker.log);
		if (!isZeroCursor(cursor) && !elsewhere) {
			return { cursor, lower: 0 };
		}
		let { begin } = state;
		if (begin === 0) {
			if (!asker.clockKnown) {
				await asker.askTime(options);
			}
			const now = Math.floor(asker.now().getTime() / 1000);
			begin = Math.max(Math.min(state.since + Math.floor(asker.offset / 1000), now), now - maxFirstHistory, 0);
			if (asker.clockKnown) {
				await account.change((s) => (s.begin = begin));
			}
		}
		return { cursor: zeroCursor, lower: Math.max(begin - historySlack, 0) };
	}

	// Tells the server what came by the history, so that it wakes the device no more for
	// that: the newest that one request holds, as a server keeps no more waiting for a device.
	async #receipt(hashes: readonly Uint8Array[], event: Draft, options: AskOptions): Promise<void> {
		const { asker } = this.#parts;
		if (!asker.receipts) {
			await asker.ask({ kind: 'status' }, options);
		}
		if (asker.receipts) {
			await this.#ask([], hashes.slice(-asker.fetch), event, options);
		} // else it is a server of before 2027
	}
}

const unique = (hashes: readonly Uint8Array[]): Uint8Array[] => [...new Set(hashes.map(hex))].map((h) => fromHex(h));
