// The messages of groups in web/vectors, as pushext/client/group/shared_test.go has them.
import { fromHex, hex0x, text, utf8 } from '../src/bytes.js';
import { MemoryStore } from '../src/device/index.js';
import { Book } from '../src/group/book.js';
import { messageName, messagesPlace, pledgeOf, ringPlace, ticketOf } from '../src/group/keys.js';
import { encodeFrame, encodeRecord, type Frame, FrameKind, type GroupRecord, type Member, recordName } from '../src/group/wire.js';
import { publicKeyOf } from '../src/whisper/index.js';
import { filled } from './support.js';

export interface StoryLetter {
	topic: string;
	by: string;
	payload: string;
	/** Unix milliseconds. */
	sent: number;
}

/** What one member of a group was told from the beginning, and what they make of it. */
export interface Story {
	/** Private, of the member. */
	key: string;
	from: string;
	invitation: string;
	letters: StoryLetter[];
	messages: (StoryLetter & { text: string; name: string; mention: boolean })[];
	group: string;
	name: string;
	epoch: number;
	members: Member[];
}

export interface GroupVectors {
	frames: { name: string; value: Frame; bytes: string }[];
	records: { name: string; value: GroupRecord; bytes: string; by: string; id: string }[];
	story: Story;
}

const [alice, bob] = [filled(32, 0xa1), filled(32, 0xb0)];
const keys = { alice: hex0x(publicKeyOf(alice)), bob: hex0x(publicKeyOf(bob)) };
const group = '0x1d' + '00'.repeat(15);
const filledHex = (byte: number, size = 32): string => hex0x(filled(size, byte));

const frames = (): Record<string, Frame> => {
	const message = { kind: FrameKind.message, group, epoch: 2, id: filledHex(0x1e), to: '', body: utf8('hello') } as const;
	return {
		message,
		mention: { ...message, kind: FrameKind.mention, to: keys.bob },
		leave: { ...message, kind: FrameKind.leave, to: keys.alice, body: new Uint8Array(0) },
		'long': { ...message, epoch: 2 ** 40, body: filled(32 << 10, 0x61) },
	};
};

const records = (): Record<string, GroupRecord> => {
	const next = filledHex(2);
	const plain: GroupRecord = {
		group, name: hex0x(utf8('choir')), epoch: 2, rank: 0, parents: [filledHex(0xaa)], secret: filledHex(1), pledge: pledgeOf(next), removed: [], added: [],
		to: keys.bob, ticket: ticketOf(next, keys.bob), next: '', all: [],
	};
	return {
		plain,
		first: { ...plain, epoch: 1, parents: [] },
		full: {
			...plain, rank: 3, parents: [filledHex(0xaa), filledHex(0xab)], removed: [keys.alice], added: [{ key: keys.bob, admin: true }], next,
			all: [{ key: keys.alice, admin: true }, { key: keys.bob, admin: false }],
		},
		'a name that is no UTF-8': { ...plain, name: '0xff00fe' },
	};
};

/** Tells a story with secrets of its own: it is another one each time. */
export async function story(): Promise<Story> {
	const book = new Book(new MemoryStore(), alice);
	const now = 1_800_000_000_000;
	const id = await book.found('choir', now);
	await book.intend(id, { add: [{ key: keys.bob, admin: false }] }, now + 1000);
	const invitation = hex0x(await book.invite(id, keys.bob));
	const letters: StoryLetter[] = [];
	const tell = async (): Promise<void> => {
		for (const l of await book.owed(16)) {
			const [place] = l.places;
			if (l.to === keys.bob && place) {
				letters.push({ topic: hex0x(place.topic), by: keys.alice, payload: hex0x(l.body), sent: now + 2000 });
			}
			await book.sent(l);
		}
	};
	await tell();
	letters.length = 0; // of the record that he is invited to
	await book.intend(id, { name: 'second choir', add: [{ key: keys.bob, admin: true }] }, now + 2000);
	await tell();
	const { place, epoch } = await book.writing(id);
	const ring = (await book.ringOf(id, keys.bob))!;
	const say = (mention: boolean, words: string, seed: number): Story['messages'][number] => {
		const frame = { kind: mention ? FrameKind.mention : FrameKind.message, group: id, epoch, id: filledHex(seed), to: mention ? keys.bob : '', body: utf8(words) } as const;
		return {
			topic: hex0x((mention ? ring.place : place).topic), by: keys.alice, payload: hex0x(encodeFrame(frame)), sent: now + 3000, text: words,
			name: messageName(id, keys.alice, frame.id), mention,
		};
	};
	const info = await book.group(id);
	return {
		key: hex0x(bob), from: keys.alice, invitation, letters, messages: [say(false, 'Who comes on Friday?', 0x51), say(true, '@Bob, will you sing?', 0x52)],
		group: id, name: info.name, epoch: info.epoch, members: [...info.members],
	};
}

/** Frames and records as the vectors have them: always the same. */
export const fixedGroupVectors = (): Omit<GroupVectors, 'story'> => ({
	frames: Object.entries(frames()).map(([name, value]) => ({ name, value: { ...value, body: hex0x(value.body) as never }, bytes: hex0x(encodeFrame(value)) })),
	records: Object.entries(records()).map(([name, value]) => ({ name, value, bytes: hex0x(encodeRecord(value)), by: keys.alice, id: recordName(value, keys.alice) })),
});

export const groupVectors = async (): Promise<GroupVectors> => ({ ...fixedGroupVectors(), story: await story() });

/** What docs/protocol.md says of keys. */
export const derived = (): Record<string, string> => {
	const [messages, ring] = [messagesPlace(filledHex(1)), ringPlace(ticketOf(filledHex(1), keys.bob))];
	const body = 'Bob, listen';
	const frame = { kind: FrameKind.mention, group, epoch: 2, id: '0x1e' + '00'.repeat(31), to: keys.bob, body: utf8(body) };
	const next = filledHex(2);
	const record: GroupRecord = {
		group, name: hex0x(utf8('choir')), epoch: 2, rank: 0, parents: ['0xaa' + '00'.repeat(31)], secret: filledHex(1), pledge: pledgeOf(next), removed: [keys.alice],
		added: [{ key: keys.bob, admin: true }], to: keys.bob, ticket: ticketOf(next, keys.bob), next, all: [{ key: keys.alice, admin: true }, { key: keys.bob, admin: false }],
	};
	const all: Record<string, Uint8Array | string> = {
		alice: keys.alice, bob: keys.bob, 'messages-topic': messages.topic, 'messages-key': messages.key, 'ring-topic': ring.topic, 'ring-key': ring.key,
		frame: encodeFrame(frame), 'message-id': messageName(group, keys.alice, frame.id), record: encodeRecord(record), 'record-id': recordName(record, keys.alice),
	};
	return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, (typeof value === 'string' ? value : hex0x(value)).slice(2)]));
};

export const textOf = (payload: string): string => text(fromHex(payload));
