// The requests for mail of web/vectors, as web/vectors/mail_test.go has them.
import { hex0x } from '../src/bytes.js';
import * as mail from '../src/mail/index.js';
import { topicBloom } from '../src/whisper/index.js';
import { filled, plain } from './support.js';

export interface MailVector {
	name: string;
	value: unknown;
	bytes: string;
}

export interface MailVectors {
	requests: MailVector[];
	completes: MailVector[];
}

/** A request or an end mark as the vectors have it: what a foreign cursor is, its bytes alone tell. */
export function plainMail(value: { cursor: mail.Cursor }): unknown {
	const { foreign: _, ...cursor } = value.cursor;
	return plain({ ...value, cursor });
}

/** The same for a cursor by itself. */
export const plainCursor = ({ foreign: _, ...cursor }: mail.Cursor): unknown => plain(cursor);

const [hashA, hashB] = [filled(32, 0xaa), filled(32, 0xbb)];
const bloom = topicBloom(Uint8Array.of(1, 2, 3, 4));
const topics = [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(0xff, 0, 0, 0)];

const full: mail.Cursor = { ...mail.zeroCursor, seq: 5n, complete: true, until: 1_800_000_000, mark: Uint8Array.of(1, 2, 3), log: filled(16, 7) };
const foreign = mail.decodeCursor(filled(36, 0x5f));

const requests = (): Record<string, mail.MailRequest> => {
	const list = { ...mail.anything, upper: 0, batch: false };
	const classic = { ...list, form: 'classic' } as const;
	const fixed = { ...list, form: 'fixed', lower: 1, upper: 2, bloom } as const;
	return {
		classic: { ...classic, lower: 1, upper: 2 ** 32 - 1 },
		'classic, bloom': { ...classic, lower: 1_700_000_000, upper: 1_800_000_000, bloom },
		fixed: { ...fixed, limit: 7 },
		'fixed, cursor': { ...fixed, cursor: full },
		list,
		'list, full': {
			...mail.anything, lower: 1, bloom, topics, hashes: [hashA, hashB], limit: 256, cursor: mail.since(2n ** 63n - 1n),
		},
		'list, topics': { ...list, topics, cursor: full },
		'list, hashes': { ...mail.exactly([hashA]), upper: 0 },
		'list, foreign cursor': { ...list, cursor: foreign },
		'list, since': mail.everythingSince(full, topics),
		'list, prove': { ...list, topics, cursor: mail.since(2n ** 63n - 1n), prove: true },
		plain: { ...mail.anything, form: 'plain', id: hashA, lower: 1, upper: 2, limit: 3, cursor: mail.since(1n), bloom },
	};
};

const completes = (): Record<string, mail.Complete> => {
	const end = { id: hashA, last: hashB, cursor: mail.zeroCursor, refusal: '' };
	return {
		'the end': end,
		nothing: { ...end, last: filled(32, 0) },
		more: { ...end, cursor: full },
		foreign: { ...end, cursor: foreign },
		'with a proof': { ...end, cursor: full, proof: { after: 4n, at: 1_800_000_000_000n, signature: filled(64, 0x51) } },
		busy: { ...end, last: filled(32, 0), refusal: 'busy: retry after 90 s: many are waiting' },
		'of another make': { ...end, last: filled(32, 0), refusal: 'no' },
	};
};

export function mailVectors(): MailVectors {
	return {
		requests: Object.entries(requests()).map(([name, r]) => ({ name, value: plainMail(r), bytes: hex0x(mail.encodeMailRequest(r)) })),
		completes: Object.entries(completes()).map(([name, c]) => ({ name, value: plainMail(c), bytes: hex0x(mail.encodeComplete(c)) })),
	};
}
