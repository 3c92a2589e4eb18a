// What servers tell of their ledgers in web/vectors, as pushext/client/ledger_vectors_test.go has it.
import { fromHex, hex0x } from '../src/bytes.js';
import { type Chat } from '../src/device/index.js';
import { encodeEvidence, type Evidence, isPageSigned, type SignedPage } from '../src/device/evidence.js';
import { doubt, isSound, type LedgerState, newestOf, takeHead } from '../src/device/ledger.js';
import { isHeadSigned, type Ledger, ledgerId } from '../src/push/index.js';
import { Envelope } from '../src/whisper/index.js';
import { readJson } from './support.js';

interface TextHead {
	log: string;
	since: number;
	begun: number;
	topics: string;
	through: number;
	at: number;
	count: number;
	chain: string;
	signature: string;
}

export interface Want {
	count: number;
	base: boolean;
	heads: number;
	hashes: number;
	last?: string;
	doubts: number;
	unproved: number;
	evidence?: unknown;
}

export interface LedgerHistory {
	name: string;
	pushKey: string;
	topic: string;
	key: string;
	steps: {
		reply?: TextHead & { secret: string; told: string[] };
		page?: { log: string; after: number; upTo: number; at: number; hashes: string[]; signature: string };
		envelopes?: string[];
		cursor?: number;
		want: Want;
	}[];
}

export const histories = (): LedgerHistory[] => readJson<{ histories: LedgerHistory[] }>('web/vectors/testdata/go/ledger.json').histories;

const toldOf = (r: TextHead & { secret: string; told: string[] }): Ledger => ({
	secret: fromHex(r.secret), log: fromHex(r.log), since: BigInt(r.since), begun: BigInt(r.begun), topics: fromHex(r.topics), through: BigInt(r.through), at: BigInt(r.at),
	count: BigInt(r.count), chain: fromHex(r.chain), signature: fromHex(r.signature), told: r.told.map((h) => fromHex(h)),
});

/** Does all steps, and says what was kept behind each. */
export function replay({ pushKey, topic, key, steps }: LedgerHistory): { wants: Want[]; found: Evidence[] } {
	const chats: Chat[] = [{ name: 'family', topic: fromHex(topic), key: fromHex(key) }];
	const server = fromHex(pushKey);
	let [ledger, unproved, read]: [LedgerState | undefined, number, { seq: bigint; log: string }] = [undefined, 0, { seq: 0n, log: '' }];
	const found: Evidence[] = [];
	const wants = steps.map((s): Want => {
		const before = found.length;
		if (s.reply) {
			const told = toldOf(s.reply);
			if (isHeadSigned(told, ledgerId(told.secret), server, told.signature)) {
				const next = takeHead(structuredClone(ledger), told, chats, server, read.log === hex0x(told.log) ? read.seq : 0n);
				[ledger, unproved] = [next.state, unproved + next.unproved];
				found.push(...(next.evidence ? [next.evidence] : []));
			}
		} else if (s.page) {
			const p = s.page;
			const page: SignedPage = {
				log: fromHex(p.log), after: BigInt(p.after), upTo: BigInt(p.upTo), at: BigInt(p.at), hashes: p.hashes.map((h) => fromHex(h)), signature: fromHex(p.signature),
			};
			if (ledger && isPageSigned(page, (by) => by(server))) {
				doubt(ledger, page, s.envelopes!.map((e) => Envelope.decode(fromHex(e))));
			}
		} else {
			read = { seq: BigInt(s.cursor!), log: hex0x(newestOf(ledger!).log) };
		}
		if (ledger && !isSound(ledger)) {
			throw new Error('what is kept could not be read again');
		}
		const newest = found.slice(before).at(-1);
		const last = ledger?.hashes.at(-1);
		return {
			count: Number(ledger ? newestOf(ledger).count : 0n), base: ledger?.base !== undefined, heads: ledger?.heads.length ?? 0, hashes: ledger?.hashes.length ?? 0, ...(last ? { last: hex0x(last) } : {}),
			doubts: ledger?.doubts.length ?? 0, unproved, ...(newest ? { evidence: JSON.parse(encodeEvidence(newest)) as unknown } : {}),
		};
	});
	return { wants, found };
}

/** What this package finds against servers, as files. */
export const ledgerVectors = (): { evidence: string[] } => ({ evidence: histories().flatMap((h) => replay(h).found).map(encodeEvidence) });
