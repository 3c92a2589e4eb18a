import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, hex0x, text } from '../src/bytes.js';
import { MemoryStore, type Preview } from '../src/device/index.js';
import { Book } from '../src/group/book.js';
import { found, membersOf, newGroupState, take } from '../src/group/roster.js';
import { decodeFrame, decodeInvitation, decodeRecord, encodeFrame, encodeInvitation, encodeRecord, isInvitation, recordName } from '../src/group/wire.js';
import { runs, spoiled } from './fuzz-support.js';
import { failure, filled, plain, readJson, readText, writers } from './support.js';
import { derived, fixedGroupVectors, type GroupVectors } from './vectors-group.js';

const file = (writer: string): GroupVectors => readJson<GroupVectors>(`web/vectors/testdata/${writer}/group.json`);

for (const writer of writers) {
	test(`the messages of groups that ${writer} wrote are read, and written alike`, () => {
		const { frames, records } = file(writer);
		assert.ok(frames.length >= 4 && records.length >= 4);
		for (const v of frames) {
			const frame = decodeFrame(fromHex(v.bytes));
			assert.deepEqual(plain(frame), v.value, v.name);
			assert.equal(hex0x(encodeFrame(frame)), v.bytes);
		}
		for (const v of records) {
			const record = decodeRecord(fromHex(v.bytes));
			assert.deepEqual(plain(record), v.value, v.name);
			assert.equal(hex0x(encodeRecord(record)), v.bytes);
			assert.equal(recordName(record, v.by), v.id);
		}
	});

	test(`a member makes of the group that ${writer} founded what its founder does`, async () => {
		const { story } = file(writer);
		const book = new Book(new MemoryStore(), fromHex(story.key));
		assert.equal(await book.join(fromHex(story.invitation), story.from), story.group);
		const arrived = (l: { topic: string; by: string; payload: string; sent: number }): Preview =>
			({ payload: fromHex(l.payload), sender: l.by, sent: new Date(l.sent), hash: '0x00' }) as unknown as Preview;
		const slotOf = async (topic: string, letter: boolean) => (await book.slots()).find((s) => hex0x(s.chat.topic) === topic && (s.kind === 'letter') === letter)!;
		assert.ok(story.letters.length > 0);
		for (const l of story.letters) {
			await book.receive(await slotOf(l.topic, true), arrived(l));
		}
		const info = await book.group(story.group);
		assert.deepEqual([info.name, info.epoch, info.members], [story.name, story.epoch, story.members]);
		assert.ok(story.messages.some((m) => m.mention) && story.messages.some((m) => !m.mention));
		for (const m of story.messages) {
			const verdict = await book.read(await slotOf(m.topic, false), arrived(m));
			assert.ok(verdict.kind === 'shown');
			assert.deepEqual([text(verdict.message.payload), verdict.message.name, verdict.message.mention], [m.text, m.name, m.mention]);
		}
	});
}

test('the vectors of groups are those of the Go package', () => {
	const lines = readText('pushext/client/group/testdata/vectors.txt').split('\n').filter((l) => !l.startsWith('#') && l !== '');
	const golden = Object.fromEntries(lines.flatMap((l, at) => (at % 2 === 0 ? [[l, lines[at + 1]!.trim()]] : [])));
	assert.deepEqual(derived(), golden);
	const { frames, records } = file('typescript');
	assert.deepEqual({ frames, records }, JSON.parse(JSON.stringify(fixedGroupVectors())));
});

const good = file('go');
const fuzz = (name: string, bytes: Uint8Array[], read: (b: Uint8Array) => unknown): void =>
	void test(`fuzz: ${name}`, () => fc.assert(fc.property(spoiled(...bytes), (b) => void failure(() => read(b))), runs));

fuzz('frames of groups', good.frames.map((v) => fromHex(v.bytes)).filter((b) => b.length < 700), (b) => encodeFrame(decodeFrame(b)));
fuzz('invitations', [fromHex(good.story.invitation)], (b) => isInvitation(b) && encodeInvitation(decodeInvitation(b)));
test('fuzz: a letter of anybody leaves a group in order', () => {
	const [alice, bob] = [good.story.from, file('go').records[0]!.value.to];
	fc.assert(
		fc.property(spoiled(...good.records.map((v) => fromHex(v.bytes))), (b) => {
			if (failure(() => decodeRecord(b)) !== undefined) {
				return;
			}
			const record = decodeRecord(b);
			assert.equal(recordName(decodeRecord(encodeRecord(record)), alice), recordName(record, alice));
			const s = found(record.group, '0x', bob, 0, 1);
			const before = membersOf(s);
			try {
				take(s, record, alice, bob, 0);
			} catch {
				assert.deepEqual(membersOf(s), before, 'alice is no admin');
			}
			const fresh = newGroupState(1);
			try {
				take(fresh, record, alice, bob, 0);
			} catch {
				return;
			}
			assert.ok(membersOf(fresh).some((m) => m.key === bob));
		}),
		runs,
	);
	assert.equal(failure(() => decodeFrame(filled(40_000, 0xc0))), 'too-large');
});
