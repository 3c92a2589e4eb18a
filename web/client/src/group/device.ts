import { fromHex, hex0x, random } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { type Chat, type Preview } from '../device/chat.js';
import { compose, type Profile } from '../device/compose.js';
import { type Device } from '../device/device.js';
import { type DeviceEvent } from '../device/delivery.js';
import { isRefused } from '../device/errors.js';
import { Code } from '../push/reply.js';
import { encrypt } from '../whisper/seal.js';
import { type Book, frameOf, type GroupMessage, isGroupChat, type Letter, type Slot } from './book.js';
import { type Hex, messageName, type Place } from './keys.js';
import { GroupError } from './roster.js';
import { encodeFrame, FrameKind, maxBody, type Member } from './wire.js';

/** How many messages wait for the record that makes their author a member. */
const maxHeld = 64;
/** How often the chats are brought in line in one call: each record may lead to the next. */
const maxRounds = 32;
/** How much earlier than a record something may be on its topics, in milliseconds. */
const pastSlack = 5 * 60_000;
/** How many letters are looked up at once. */
const lettersAtOnce = 16;

/** What came, with what of it was written in groups. */
export interface GroupEvent {
	/** Its previews are those of other chats. */
	readonly event: DeviceEvent;
	readonly messages: readonly GroupMessage[];
}

/** What is for one new member, to be sent to them and nobody else. */
export interface NewMember {
	readonly to: Hex;
	readonly payload: Uint8Array;
}

/** How {@link GroupDevice.say} writes. */
export interface SayOptions {
	/** Who is rung: their public keys. */
	readonly mentioned?: readonly Hex[];
	/** Of the message; the same once more is the same message. Undefined: a new one. */
	readonly id?: Hex;
	readonly sent?: Date;
	readonly profile?: Profile;
}

interface Held {
	readonly preview: Preview;
	readonly slot: string;
}

/** What groups need of a device: one at a mailserver, or a `Several` at more than one. */
export type Listening = Pick<Device, 'chats' | 'receive' | 'history' | 'past' | 'shown' | 'post' | 'doubt' | 'setChats'>;

/**
 * A device with the groups of a book beside its other chats. What is received goes through it,
 * and so do the other chats, of which the device is told with those of the groups.
 */
export class GroupDevice<D extends Listening = Device> {
	readonly book: Book;
	readonly device: D;
	readonly #now: () => number;
	#others: readonly Chat[];
	#turn: Promise<unknown> = Promise.resolve();
	#held: Held[] = [];
	/** What came with something else than an event, and is given with the next. */
	#spare: { messages: GroupMessage[]; previews: Preview[] } = { messages: [], previews: [] };
	/** How many messages of groups came in this run from nobody who was a member, or made no sense. */
	ignored = 0;

	/**
	 * @param others the device's chats that are no group's
	 * @param now the time, Unix milliseconds, where the clock of the platform may be wrong
	 */
	constructor(book: Book, device: D, others: readonly Chat[], now: () => number = Date.now) {
		this.#now = now;
		this.book = book;
		this.device = device;
		this.#others = others;
	}

	/** What a device is opened with: the chats of groups, and others. */
	static async chats(book: Book, others: readonly Chat[]): Promise<Chat[]> {
		return [...others, ...(await book.slots()).map((s) => s.chat)];
	}

	#inTurn<T>(task: () => Promise<T>): Promise<T> {
		const result = this.#turn.then(task);
		this.#turn = result.catch(() => undefined);
		return result;
	}

	/** Handles the body of a push, as `Device.receive` does. */
	receive(push: string | Uint8Array): Promise<GroupEvent> {
		return this.#through(() => this.device.receive(push));
	}

	/** Is `Device.history`, and brings the messages of groups, which wake nobody. */
	history(): Promise<GroupEvent> {
		return this.#through(() => this.device.history());
	}

	/** Asks for what came since a time, wherever the history was read to: for what was restored from a copy. */
	past(since: Date): Promise<GroupEvent> {
		return this.#through(async () => {
			const topics = new Map(this.device.chats.map((c) => [hex0x(c.topic), c.topic]));
			return this.device.past(since, [...topics.values()]);
		});
	}

	/** Replaces the chats that are no group's, and tells the server of all. */
	setChats(others: readonly Chat[]): Promise<void> {
		return this.#inTurn(async () => {
			this.#others = others;
			await this.#align();
		});
	}

	/**
	 * Changes who is in a group, or its name, and tells the members. The invitations are for the
	 * app to send to the new ones. It looks first what other admins have done. If the mailserver
	 * cannot be reached after that, the change stands, and is told with the next event.
	 */
	change(id: Hex, change: { readonly add?: readonly Member[]; readonly remove?: readonly Hex[]; readonly name?: string }): Promise<NewMember[]> {
		return this.#inTurn(async () => {
			const { topics, since } = await this.book.rings(id);
			await this.#look(topics, since);
			await this.#tend();
			const invited = await this.book.intend(id, change, this.#now());
			const all: NewMember[] = [];
			for (const to of invited) {
				all.push({ to, payload: await this.book.invite(id, to) });
			}
			await this.#tend().catch(() => undefined); // what is owed goes out with the next event
			return all;
		});
	}

	/** Begins a group. */
	found(name: string): Promise<Hex> {
		return this.#inTurn(async () => {
			const id = await this.book.found(name, this.#now());
			await this.#tend().catch(() => undefined);
			return id;
		});
	}

	/** Takes an invitation that the person accepts. */
	join(payload: Uint8Array, from: Hex): Promise<Hex> {
		return this.#inTurn(async () => {
			const id = await this.book.join(payload, from);
			await this.#tend().catch(() => undefined);
			return id;
		});
	}

	/** Says what wakes the person in a group, see `Mode`. */
	setWake(id: Hex, wake: number): Promise<void> {
		return this.#inTurn(async () => {
			await this.book.setWake(id, wake);
			await this.#align();
		});
	}

	mute(id: Hex, until: number): Promise<void> {
		return this.#inTurn(async () => {
			await this.book.mute(id, until);
			await this.#align();
		});
	}

	/** Ends the person's membership, and tells the admins, who change the epoch. An admin ceases to be one first. */
	async leave(id: Hex): Promise<void> {
		const { members } = await this.book.group(id);
		const { me } = this.book;
		const admins = members.filter((m) => m.admin && m.key !== me).map((m) => m.key);
		if (members.find((m) => m.key === me)?.admin && members.length > 1) {
			if (admins.length === 0) {
				throw new GroupError('last-admin', 'the only admin cannot leave; make another member an admin first');
			}
			await this.change(id, { add: [{ key: me, admin: false }] });
		}
		await this.#inTurn(async () => {
			const say = hex0x(random(32));
			for (const k of admins) {
				await this.#ring(id, FrameKind.leave, say, new Uint8Array(0), k, { sent: new Date(this.#now()) });
			}
			await this.book.quit(id);
			await this.#align();
		});
	}

	/** How a message of ours is called before it is sent, by its id. */
	named(group: Hex, id: Hex): Hex {
		return messageName(group, this.book.me, id);
	}

	/** Writes a message to a group, and rings who is mentioned. */
	say(group: Hex, body: Uint8Array, options: SayOptions = {}): Promise<void> {
		return this.#inTurn(async () => {
			if (body.length > maxBody) {
				throw new GroupError('invalid', `a message of ${body.length} bytes, at most ${maxBody}`);
			}
			const { id = hex0x(random(32)), sent = new Date(this.#now()), mentioned = [], profile } = options;
			const to = [...new Set(mentioned)].filter((k) => k !== this.book.me);
			const { place, epoch } = await this.book.writing(group);
			await this.book.ringing(group, id, body, to, sent.getTime());
			await this.#post(place, frameOf(FrameKind.message, group, epoch, id, '', body), { sent, ...(profile ? { profile } : {}) });
			for (const k of to) {
				await this.#ring(group, FrameKind.mention, id, body, k, { sent, ...(profile ? { profile } : {}) });
			}
		});
	}

	// Sends a frame to where a member is rung. Who is no member is not rung.
	async #ring(group: Hex, kind: number, id: Hex, body: Uint8Array, to: Hex, how: { sent: Date; profile?: Profile }): Promise<void> {
		const at = await this.book.ringOf(group, to);
		if (at) {
			await this.#post(at.place, frameOf(kind, group, at.epoch, id, to, body), how);
		}
	}

	async #post({ topic, key }: Place, frame: Parameters<typeof encodeFrame>[0], { sent, profile }: { sent: Date; profile?: Profile }): Promise<void> {
		await this.device.post(await encrypt(compose({ topic, key, payload: encodeFrame(frame), sign: this.book.identity }, sent, profile)), { wake: true });
	}

	#through(ask: () => Promise<DeviceEvent>): Promise<GroupEvent> {
		return this.#inTurn(async () => {
			const event = await ask();
			const sorted = await this.#sort(event.previews);
			let { error } = event;
			try {
				await this.#tend();
			} catch (failed) {
				error ??= failed;
			}
			const spare = this.#spare;
			this.#spare = { messages: [], previews: [] };
			return { event: { ...event, error, previews: [...sorted.previews, ...spare.previews] }, messages: [...sorted.messages, ...spare.messages] };
		});
	}

	// Takes what is of groups out of an event, and makes of it what there is to show: records
	// first, as they say who may write.
	async #sort(previews: readonly Preview[]): Promise<{ previews: Preview[]; messages: GroupMessage[] }> {
		const slots = new Map((await this.book.slots()).map((s) => [s.chat.name, s]));
		const [rest, messages, done]: [Preview[], GroupMessage[], Hex[]] = [[], [], []];
		const written: Held[] = [...this.#held];
		this.#held = [];
		for (const p of previews) {
			const slot = slots.get(p.chat);
			if (!isGroupChat(p.chat)) {
				rest.push(p);
			} else if (!slot) {
				done.push(p.hash); // of an epoch that is over
			} else if (slot.kind === 'letter') {
				done.push(p.hash);
				await this.#regard(() => this.book.receive(slot, p));
			} else {
				written.push({ preview: p, slot: p.chat });
			}
		}
		const now = new Map((await this.book.slots()).map((s) => [s.chat.name, s]));
		for (const held of written) {
			const slot = now.get(held.slot) ?? slots.get(held.slot);
			const verdict = slot && (await this.#regard(() => this.book.read(slot as Slot, held.preview)));
			if (verdict?.kind === 'shown') {
				messages.push(verdict.message); // the app says that it was shown
			} else if (verdict?.kind === 'unsure' && this.#held.length < maxHeld) {
				this.#held.push(held);
			} else {
				this.ignored += verdict?.kind === 'heard' ? 0 : 1;
				done.push(held.preview.hash);
			}
		}
		await this.device.shown(done);
		return { previews: rest, messages };
	}

	// Does something with a stranger's bytes, of which what makes no sense is counted.
	async #regard<T>(task: () => Promise<T>): Promise<T | undefined> {
		try {
			return await task();
		} catch (error) {
			if (!(error instanceof GroupError) && !isProtocolError(error)) {
				throw error;
			}
			this.ignored++;
			return undefined;
		}
	}

	// Brings the device's chats in line with the groups, looks what was on topics that are new,
	// and does what is an admin's to do, until nothing is left.
	async #tend(): Promise<void> {
		for (let round = 0; round < maxRounds; round++) {
			await this.#align();
			const looks = await this.book.looks();
			if (looks.length > 0) {
				await this.#look(looks.map((l) => fromHex(l.topic)), Math.min(...looks.map((l) => l.since)));
				await this.book.looked(looks);
			}
			const changed = await this.#duties();
			if (looks.length === 0 && !changed) {
				return;
			}
		}
	}

	async #align(): Promise<void> {
		const untold = await this.book.untold();
		this.device.doubt(untold.map((t) => fromHex(t)));
		try {
			await this.device.setChats(await GroupDevice.chats(this.book, this.#others));
		} catch (error) {
			// The app registers, and tells the server all then.
			if (!isRefused(error, Code.notRegistered)) {
				throw error;
			}
			return;
		}
		await this.book.told(untold);
	}

	async #look(topics: readonly Uint8Array[], since: number): Promise<void> {
		const event = await this.device.past(new Date(since - pastSlack), topics);
		const sorted = await this.#sort(event.previews);
		this.#spare.messages.push(...sorted.messages);
		this.#spare.previews.push(...sorted.previews);
		if (event.error !== undefined) {
			throw event.error;
		}
	}

	async #duties(): Promise<boolean> {
		const now = this.#now();
		const changed = await this.book.tidy(now);
		for (let letters = await this.book.owed(lettersAtOnce); letters.length > 0; letters = await this.book.owed(lettersAtOnce)) {
			for (const l of letters) {
				await this.#send(l);
				await this.book.sent(l);
			}
		}
		for (const r of await this.book.missed(now)) {
			await this.#ring(r.group, FrameKind.mention, r.id, r.body, r.to, { sent: new Date(r.sent) });
		}
		return changed;
	}

	async #send({ to, places, body }: Letter): Promise<void> {
		for (const { topic } of places) {
			const draft = compose({ topic, to: fromHex(to), payload: body, sign: this.book.identity }, new Date(this.#now()));
			await this.device.post(await encrypt(draft), { wake: true });
		}
	}
}
