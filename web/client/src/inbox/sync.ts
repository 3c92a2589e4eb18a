import { fromHex, hex0x } from '../bytes.js';
import { isProtocolError, malformed } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { parsePublicKey } from '../whisper/keys.js';
import { type BlockRecord, type InboxRecord, type MuteRecord } from './records.js';

// The payload of a message in the sync chat, an RLP list that may grow at its end:
//
//	[version = 1, [mark 8, …], [[chat 12, until, at, device], …], [[sender 33, on, at, device], …]]
//
// The marks are the beginnings of Preview.message of what was read. at is in Unix milliseconds; of
// two changes of one thing the later counts, and of two at the same time that of the greater device.
const syncVersion = 1;
/** How many marks one message has. */
export const maxSyncMarks = 512;
/** How many changes of each kind one message has. */
export const maxSyncChanges = 64;
/** How many items of a list are read before those beyond the limits are passed over. */
const maxRead = 4096;
/** How far a change may lie in the future, by the clock of the device that made it, and still count, in milliseconds. */
const maxAhead = 24 * 3600_000;
/** The latest end of a mute, in Unix seconds: more is as long as a person may wish. */
export const latestMute = 2 ** 40;

const chatBytes = (chat: string): Uint8Array => fromHex(chat.replace('.', ''));
const chatText = (bytes: Uint8Array): string => `${hex0x(bytes.subarray(0, 4))}.${hex0x(bytes.subarray(4)).slice(2)}`;

/** Returns the payload that tells the user's other devices what was read, muted and blocked. */
export function encodeSync(marks: readonly string[], changes: readonly (MuteRecord | BlockRecord)[]): Uint8Array {
	const mutes = changes.filter((c) => c.kind === 'mute');
	const blocks = changes.filter((c) => c.kind === 'block');
	const stamp = ({ stamp: { at, device } }: MuteRecord | BlockRecord): Uint8Array[] => [rlp.uint(at), rlp.uint(device)];
	return rlp.list([
		rlp.uint(syncVersion),
		rlp.list(marks.map((m) => rlp.string(fromHex(m)))),
		rlp.list(mutes.map((m) => rlp.list([rlp.string(chatBytes(m.chat)), rlp.uint(m.until), ...stamp(m)]))),
		rlp.list(blocks.map((b) => rlp.list([rlp.string(fromHex(b.sender)), rlp.uint(b.on ? 1 : 0), ...stamp(b)]))),
	]);
}

/** Reads such a payload. What lies too far in the future at `now`, Unix milliseconds, and what is beyond the limits, is left out. Throws a ProtocolError. */
export function decodeSync(payload: Uint8Array, now: number): InboxRecord[] {
	const r = Reader.open(payload, 'message of the user\'s devices', false);
	if (r.uint('version') !== BigInt(syncVersion)) {
		throw malformed('message of the user\'s devices is of another version');
	}
	const marks = r.items('marks', maxRead, (each) => hex0x(each.fixed('mark', 8)));
	const stamp = (each: Reader) => ({ at: each.uint('time of a change'), device: each.uint('device') });
	const mutes = r.items('mutes', maxRead, (all) => {
		const each = all.list('mute');
		return { chat: chatText(each.fixed('chat', 12)), until: each.uint('end of a mute'), stamp: stamp(each) };
	});
	const blocks = r.items('blocks', maxRead, (all) => {
		const each = all.list('block');
		return { sender: hex0x(each.fixed('sender', 33)), on: each.bool('on'), stamp: stamp(each) };
	});
	const latest = BigInt(now + maxAhead);
	const counts = ({ stamp: s }: { stamp: { at: bigint } }): boolean => s.at <= latest;
	const told = ({ at, device }: { at: bigint; device: bigint }) => ({ at: Number(at), device });
	return [
		...(marks.length > 0 ? [{ kind: 'readMessages', marks: marks.slice(0, maxSyncMarks) } as const] : []),
		...mutes.slice(0, maxSyncChanges).filter(counts).map((m) => ({ kind: 'mute', chat: m.chat, until: Number(m.until > BigInt(latestMute) ? BigInt(latestMute) : m.until), stamp: told(m.stamp), here: false }) as const),
		...blocks.slice(0, maxSyncChanges).filter((b) => counts(b) && isKey(b.sender)).map((b) => ({ kind: 'block', sender: b.sender, on: b.on, stamp: told(b.stamp), here: false }) as const),
	];
}

function isKey(sender: string): boolean {
	try {
		parsePublicKey(sender);
		return true;
	} catch {
		return false;
	}
}

/** The same of a stranger's bytes; undefined: they are of a later version, or the key of the sync chat is not the devices' alone. */
export function heardSync(payload: Uint8Array, now: number): InboxRecord[] | undefined {
	try {
		return decodeSync(payload, now);
	} catch (error) {
		if (isProtocolError(error)) {
			return undefined;
		}
		throw error;
	}
}
