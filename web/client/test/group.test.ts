import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../src/bytes.js';
import { Mode } from '../src/push/index.js';
import { envelop, encrypt } from '../src/whisper/index.js';
import { compose } from '../src/device/compose.js';
import { GroupError } from '../src/group/index.js';
import { encodeFrame, FrameKind } from '../src/group/wire.js';
import { Town, type Person } from './group-support.js';

async function choir(town: Town): Promise<{ alice: Person; bob: Person; carol: Person; id: string }> {
	const [alice, bob, carol] = [await town.person(0xa1), await town.person(0xb0), await town.person(0xc0)] as const;
	const id = await alice.groups.found('choir');
	const invited = await alice.groups.change(id, { add: [{ key: bob.me, admin: false }, { key: carol.me, admin: false }] });
	assert.deepEqual(invited.map((i) => i.to), [bob.me, carol.me]);
	for (const [at, person] of [bob, carol].entries()) {
		assert.equal(await person.groups.join(invited[at]!.payload, alice.me), id);
	}
	await town.settle();
	for (const person of [alice, bob, carol]) {
		person.woken = 0;
	}
	return { alice, bob, carol, id };
}

test('only who is mentioned is woken, and all can read everything', async () => {
	const town = new Town();
	const { alice, bob, carol, id } = await choir(town);
	assert.deepEqual([alice, bob, carol].map((p) => town.topics(p)), [2, 2, 2], 'of this epoch and the next');
	await alice.groups.say(id, utf8('Who comes on Friday?'));
	await carol.groups.say(id, utf8('I do.'));
	await alice.groups.say(id, utf8('@Bob, will you sing?'), { mentioned: [bob.me, alice.me, bob.me] });
	await town.settle();
	assert.deepEqual([alice, bob, carol].map((p) => p.woken), [0, 1, 0]);
	assert.deepEqual(bob.texts(), ['@Bob, will you sing?']);
	assert.equal(bob.messages[0]!.mention, true);
	await town.history();
	assert.deepEqual(bob.texts(), ['@Bob, will you sing?', 'Who comes on Friday?', 'I do.'], 'one message, in however many envelopes it came');
	assert.deepEqual(carol.texts(), ['Who comes on Friday?', '@Bob, will you sing?']);
	assert.equal(carol.messages[1]!.author, alice.me);
});

test('who was removed triggers nothing, and reads nothing of what follows', async () => {
	const town = new Town();
	const { alice, bob, carol, id } = await choir(town);
	const old = (await carol.book.ringOf(id, bob.me))!;
	const place = await carol.book.writing(id);
	await alice.groups.change(id, { remove: [carol.me] });
	await town.settle();
	assert.deepEqual((await bob.book.group(id)).members.map((m) => m.key), [alice.me, bob.me]);
	bob.woken = 0;
	for (const [at, kind, to] of [[old.place, FrameKind.mention, bob.me], [place.place, FrameKind.message, '']] as const) {
		const frame = encodeFrame({ kind, group: id, epoch: old.epoch, id: '0x' + '33'.repeat(32), to, body: utf8('still here') });
		const sealed = await encrypt(compose({ topic: at.topic, key: at.key, payload: frame, sign: carol.book.identity }, new Date()));
		await town.server.deliver(await envelop(sealed, { now: new Date() }));
	}
	await alice.groups.say(id, utf8('@Bob, she is gone'), { mentioned: [bob.me, carol.me] });
	await town.settle();
	await town.history();
	assert.deepEqual(bob.texts(), ['@Bob, she is gone']);
	assert.equal(bob.woken, 1);
	assert.deepEqual(carol.texts(), ['still here'], 'her own word is all she has');
});

test('two admins at once: both changes count, and whoever was removed by either is out', async () => {
	const town = new Town();
	const { alice, bob, carol, id } = await choir(town);
	const dave = await town.person(0xd0);
	await alice.groups.change(id, { add: [{ key: bob.me, admin: true }] });
	await town.settle();
	// Neither has seen what the other does.
	await alice.book.intend(id, { remove: [carol.me] });
	await bob.book.intend(id, { add: [{ key: dave.me, admin: false }] });
	for (let round = 0; round < 4; round++) {
		await town.history();
		await town.settle();
	}
	const wanted = [alice.me, bob.me, dave.me].sort();
	for (const person of [alice, bob]) {
		assert.deepEqual((await person.book.group(id)).members.map((m) => m.key).sort(), wanted);
	}
	assert.equal((await alice.book.group(id)).epoch, (await bob.book.group(id)).epoch);
	await dave.groups.join(await bob.book.invite(id, dave.me), bob.me);
	await town.settle();
	await alice.groups.say(id, utf8('@Dave, welcome'), { mentioned: [dave.me] });
	await town.settle();
	assert.deepEqual(dave.texts(), ['@Dave, welcome']);
});

test('a member who was away for several epochs finds the way, and a mention of the old epoch rings again', async () => {
	const town = new Town();
	const { alice, bob, carol, id } = await choir(town);
	town.people.splice(town.people.indexOf(bob), 1); // his pushes are lost
	for (const name of ['second choir', 'third choir']) {
		await alice.groups.change(id, { name });
		await town.settle();
	}
	await carol.groups.say(id, utf8('@Bob, are you there?'), { mentioned: [bob.me] });
	town.server.pushes.length = 0;
	await bob.take(() => bob.groups.history());
	await bob.take(() => bob.groups.history());
	assert.equal((await bob.book.group(id)).name, 'third choir');
	assert.ok(bob.texts().includes('@Bob, are you there?'));
});

test('leaving, muting and waking', async () => {
	const town = new Town();
	const { alice, bob, carol, id } = await choir(town);
	await assert.rejects(alice.groups.leave(id), (e) => e instanceof GroupError && e.code === 'last-admin');
	await carol.groups.setWake(id, Mode.every);
	assert.equal(town.topics(carol), 3);
	await bob.groups.say(id, utf8('hello'));
	await town.settle();
	assert.deepEqual([carol.woken, carol.texts()], [1, ['hello']]);
	await bob.groups.leave(id);
	await town.settle();
	await town.history();
	await town.settle();
	assert.equal(town.topics(bob), 0);
	assert.deepEqual((await alice.book.group(id)).members.map((m) => m.key), [alice.me, carol.me]);
	assert.equal((await bob.book.group(id)).left, true);
	await assert.rejects(bob.groups.change(id, { name: 'x' }), (e) => e instanceof GroupError && e.code === 'unknown');
	await assert.rejects(carol.groups.change(id, { remove: [alice.me] }), (e) => e instanceof GroupError && e.code === 'not-admin');
	await assert.rejects(alice.groups.found('x'.repeat(65)), GroupError);
});
