import { equal, hex, isZero } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { type Complete, decodeComplete, type Proof, refusalWord, retryAfter } from '../mail/complete.js';
import { type Cursor, isZeroCursor, sameCursor } from '../mail/cursor.js';
import { encodeMailRequest, type MailRequest, maxClockSkew } from '../mail/request.js';
import { pushPadding, symmetricPadding } from '../push/limits.js';
import { bloomCovers, topicBloom } from '../whisper/bloom.js';
import { type Envelope } from '../whisper/envelope.js';
import { newPrivateKey, type PublicKey, type SymmetricKey } from '../whisper/keys.js';
import { seal } from '../whisper/seal.js';
import { topicSize } from '../whisper/topic.js';
import { type Asker, type AskOptions } from './ask.js';
import { limited } from './clock.js';
import { DeviceError } from './errors.js';
import { envelopesOf } from './transport.js';

/** How long an answer may pause, in milliseconds. */
const pageTimeout = 30_000;
/** The longest that a busy mailserver is waited for, in seconds. */
const maxRetryAfter = 30;
/** The most envelopes that one page is taken with. */
const maxPage = 2000;

/** Who opens requests for mail. */
export type MailKey = { readonly key: SymmetricKey } | { readonly to: PublicKey };

interface Page {
	readonly envelopes: readonly Envelope[];
	readonly cursor: Cursor;
	/** Makes the page a statement of the mailserver; undefined: it was not asked for one, or gave none. */
	readonly proof: Proof | undefined;
}

/**
 * Asks for mail, and goes on with the cursor of each answer until there is no more. It
 * hands over the envelopes of each answer with the cursor behind them, and asks for more
 * only after `handle` resolved: whoever keeps the cursor with what they make of the page
 * misses nothing, and gets at most a page again.
 */
export async function collect(
	asker: Asker,
	mailKey: MailKey,
	request: MailRequest,
	options: AskOptions,
	handle: (page: Page) => Promise<void>,
): Promise<void> {
	for (;;) {
		const page = await asker.persist('history', options, (signal) => ask(asker, mailKey, request, signal));
		await handle(page);
		const { cursor } = page;
		if (isZeroCursor(cursor) || cursor.complete) {
			return;
		}
		if (sameCursor(cursor, request.cursor)) {
			throw new DeviceError('bad-answer', 'the cursor of the answer is the one that was asked for');
		}
		request = { ...request, cursor };
	}
}

async function ask(asker: Asker, mailKey: MailKey, request: MailRequest, signal: AbortSignal): Promise<Page> {
	const payload = encodeMailRequest(request);
	const symmetric = 'key' in mailKey;
	// Requests for mail are signed by keys of their own, so that they cannot be told to be
	// of one device, and are as long as requests of push.
	const envelope = await seal(
		{
			...mailKey,
			payload,
			padding: symmetric ? symmetricPadding(payload.length) : pushPadding(payload.length),
			topic: new Uint8Array(topicSize), // as requests for mail of others have it
			sign: newPrivateKey(),
			pow: asker.pow,
			now: asker.now(),
		},
		{ miner: asker.config.miner, signal },
	);
	const envelopes: Envelope[] = [];
	const have = new Set<string>();
	const wants = filter(request);
	let last: Uint8Array | undefined;
	const frames = asker.frames(envelope, request.hashes, signal);
	try {
		for (;;) {
			const timeout = new DeviceError('no-reply', `nothing came for ${pageTimeout / 1000} s`);
			const limit = { clock: asker.config.clock, milliseconds: pageTimeout, reason: timeout };
			const { done, value: frame } = await limited([signal], limit, () => frames.next());
			if (done) {
				throw new DeviceError('no-reply', 'the answer ended without its end mark');
			}
			if (frame.kind === 'complete') {
				const end = completeOf(frame.bytes);
				if (end && equal(end.id, envelope.hash)) {
					await checkEnd(asker, end, last, signal);
					return { envelopes, cursor: end.cursor, proof: end.proof };
				}
				continue;
			}
			for (const e of envelopesOf(frame)) {
				last = e.hash;
				if (wants(e) && !have.has(hex(e.hash))) {
					have.add(hex(e.hash));
					envelopes.push(e);
				}
			}
			if (envelopes.length > Math.min(request.limit || maxPage, maxPage)) {
				throw new DeviceError('too-much', `more than ${request.limit || maxPage} envelopes were sent for one request`);
			}
		}
	} finally {
		// It is not waited for: a transport that hangs must not hold up the device.
		void frames.return(undefined).catch(() => undefined);
	}
}

function completeOf(bytes: Uint8Array): Complete | undefined {
	try {
		return decodeComplete(bytes);
	} catch (error) {
		if (isProtocolError(error)) {
			return undefined;
		}
		throw error;
	}
}

async function checkEnd(asker: Asker, end: Complete, last: Uint8Array | undefined, signal: AbortSignal): Promise<void> {
	if (end.refusal !== '') {
		const [word, wait] = [refusalWord(end.refusal), retryAfter(end.refusal)];
		const again = (word === 'busy' || word === 'failed') && wait <= maxRetryAfter;
		if (again) {
			await asker.config.clock.sleep(1000 * wait, signal);
		}
		throw new DeviceError(again ? 'no-reply' : 'mail-refused', `the mailserver refuses: ${end.refusal}`);
	}
	if (!isZero(end.last) && !(last && equal(end.last, last))) {
		throw new DeviceError('no-reply', 'the end of the answer came without its last envelope');
	}
}

// Tells which envelopes were asked for: a server's word alone is not enough.
function filter(r: MailRequest): (e: Envelope) => boolean {
	const hashes = new Set(r.hashes.map(hex));
	const topics = new Set(r.topics.map(hex));
	// The mailserver counts by its own clock in the order of the log.
	const lower = r.lower - (r.cursor.ascending ? maxClockSkew : 0);
	return (e) => {
		if (hashes.size > 0) {
			return hashes.has(hex(e.hash));
		}
		if (topics.size > 0 ? !topics.has(hex(e.topic)) : r.bloom && !bloomCovers(r.bloom, topicBloom(e.topic))) {
			return false;
		}
		return e.sent >= lower && (r.upper === 0 || e.sent <= r.upper);
	};
}
