// The device of this browser and what the app makes of what it brings: the same in a window and in
// the service worker.
import {
	Book, compose, decodeInvitation, Device, DeviceError, type DeviceEvent, DoorTransport, encrypt, fromHex, GroupDevice,
	type GroupEvent, type GroupInfo, type GroupMessage, hex0xOf, hexOf, IndexedDbStore, isInvitation, keyFromPassword, maxName, type Miner, Mode, parsePublicKey,
	parseTopic, type Preview, publicKeyOf, random, SealedStore, sealedName, type Several, systemClock, textOf, topicFor, utf8,
} from './client.js';
import { Skew } from './clock.js';
import { Home } from './home.js';
import { isMuted, printableName, shortKey } from './names.js';
import { chatOfGroup, identityOf, inbox, othersOf, type SealedIdentity } from './parts.js';
import { meetServer, type Server } from './server.js';
import { AppStore, type Outgoing, type SharedKey, type StoredChat, type StoredMessage } from './store.js';

/** Tells the other windows that something changed. */
export const changes = new BroadcastChannel('whisperpush');

/** The longest text of a message that is kept, in characters. */
const maxText = 10_000;

/** How many people may begin a chat with somebody who does not know them. */
const maxStrangers = 128;
/** How much earlier than it came a message of a group may stand, in milliseconds: one that mentions somebody overtakes others. */
const maxLate = 3600_000;
/** How many invitations to groups wait for an answer; the oldest go. */
const maxInvitations = 32;

/** An invitation to a group, which waits for the person to say whether they want to be in it. */
export interface StoredInvitation {
	readonly group: string;
	readonly name: string;
	readonly from: string;
	readonly payload: Uint8Array;
}

/** How a {@link Messenger} is opened. */
export interface MessengerOptions {
	readonly miner?: Miner | undefined;
	/** Called when a window of an older version is in the way. */
	readonly blocked?: () => void;
}

export class Messenger {
	readonly store: AppStore;
	readonly groups: GroupDevice<Several>;
	/** Which server has the account. */
	readonly home: Home;
	readonly #identity: Uint8Array;
	readonly #inbox: Uint8Array;
	readonly #vault: SealedStore;
	/** How far the clock of this device is off, as far as is known. */
	readonly skew: Skew;

	private constructor(store: AppStore, groups: GroupDevice<Several>, home: Home, inboxTopic: Uint8Array, vault: SealedStore, skew: Skew) {
		this.store = store;
		this.groups = groups;
		this.home = home;
		this.#identity = groups.book.identity;
		this.#inbox = inboxTopic;
		this.#vault = vault;
		this.skew = skew;
	}

	static async open(origin: string, options: MessengerOptions = {}): Promise<Messenger> {
		const store = new AppStore(options.blocked);
		const skew = await Skew.of(store, origin);
		let server = await store.setting<Server>('server');
		if (!server) {
			await skew.look();
			server = await store.settle('server', (await meetServer(origin, new Date(Date.now() + skew.value))).server);
		}
		const vault = await SealedStore.open(new IndexedDbStore());
		await vault.migrate(hexOf(server.pushKey));
		const identity = await identityOf(store, vault);
		const inboxTopic = await store.settle('inbox', random(4));
		const bookStore = await SealedStore.open(new IndexedDbStore('whisperpush-groups'));
		await bookStore.migrate('groups');
		const book = new Book(bookStore, identity);
		const others = await othersOf(store, identity, inboxTopic);
		const home: Home = await Home.open({
			store, origin, now: () => Date.now() + skew.value, moved: () => changes.postMessage('moved'),
			device: async ({ pushKey, nodeKey }, at) => Device.open({
				pushKey, transport: new DoorTransport(at), store: vault, miner: options.miner, mail: { nodeKey },
				chats: await GroupDevice.chats(book, await othersOf(store, identity, inboxTopic)), clock: { ...systemClock, now: () => Date.now() + skew.value },
			}),
		}, server);
		const groups = new GroupDevice(book, home.several, others, () => Date.now() + skew.value + home.several.device.clockOffset);
		return new Messenger(store, groups, home, inboxTopic, vault, skew);
	}

	/** The device at the server in use, or those at two while the app moves. */
	get device(): Several {
		return this.home.several;
	}

	/** The public key by which others see who wrote. */
	get me(): string {
		return hex0xOf(publicKeyOf(this.#identity));
	}

	/** What the person calls themselves; others see it with their messages. Empty: nothing. */
	async name(): Promise<string> {
		return (await this.store.setting<string>('name')) ?? '';
	}

	async setName(name: string): Promise<void> {
		const bytes = utf8(name).length;
		if (bytes > maxName) {
			throw new Error(`a name has at most ${maxName} bytes; this one has ${bytes}`);
		}
		await this.store.set('name', name);
	}

	/** The time, by the server's clock as far as that is known: the one here may be wrong. */
	now(): number {
		return Date.now() + this.clockOffset;
	}

	/** How far the server's clock is ahead of this device's, in milliseconds, as far as that is known. */
	get clockOffset(): number {
		return this.skew.value + this.device.device.clockOffset;
	}

	/** Adds a chat whose members share a password. */
	async join(name: string, password: string): Promise<StoredChat> {
		return this.joinWith(name, await keyFromPassword(password));
	}

	/** Adds a chat whose members share a key. One that is there already is returned. */
	async joinWith(name: string, key: Uint8Array): Promise<StoredChat> {
		for (const chat of await this.store.chats()) {
			const held = await this.keyOf(chat);
			if (chat.name === name && held && hexOf(held) === hexOf(key)) {
				return chat;
			}
		}
		const chat: StoredChat = { id: crypto.randomUUID(), name, with: await this.shared(topicFor(name), key), unread: 0, last: Date.now() };
		await this.store.addChat(chat);
		await this.#tell();
		return chat;
	}

	/** How a chat with a key that its members share is kept. */
	async shared(topic: Uint8Array, key: Uint8Array): Promise<SharedKey> {
		const imported = await crypto.subtle.importKey('raw', key as BufferSource, { name: 'AES-GCM' }, false, ['encrypt', 'decrypt']);
		return { topic, key: imported, secret: await this.#vault.seal(key) };
	}

	/** The key that the members of a chat share; undefined: it has none, or was joined when it could not be kept. */
	async keyOf(chat: StoredChat): Promise<Uint8Array | undefined> {
		return 'key' in chat.with && chat.with.secret ? this.#vault.unseal(chat.with.secret) : undefined;
	}

	/** A link that lets others into a chat, if there is one. */
	async chatLink(chat: StoredChat, origin: string): Promise<string | undefined> {
		const key = await this.keyOf(chat);
		return key && `${origin}/#join=${encodeURIComponent(chat.name)}&key=${hexOf(key)}`;
	}

	/** The person's key and where they are reached, for the file of an export. */
	get secrets(): { identity: Uint8Array; inbox: Uint8Array } {
		return { identity: this.#identity, inbox: this.#inbox };
	}

	/** Encrypts the person's key as it is kept. */
	async sealedIdentity(key: Uint8Array): Promise<SealedIdentity> {
		return { sealed: await this.#vault.seal(key) };
	}

	/** A link by which others write to the person, encrypted to their key. What is behind # is sent to no server. */
	async contactLink(origin: string): Promise<string> {
		const name = await this.name();
		return `${origin}/#contact=${this.me.slice(2)}&at=${hex0xOf(this.#inbox).slice(2)}${name ? `&name=${encodeURIComponent(name)}` : ''}`;
	}

	/** Begins a chat with whoever gave a contact link. Throws if it is none. */
	async meetPerson(link: { readonly key: string; readonly at: string; readonly name: string }): Promise<StoredChat> {
		const key = hex0xOf(parsePublicKey(link.key));
		if (key === this.me) {
			throw new Error('this is your own link: give it to others');
		}
		const topic = parseTopic(link.at);
		await this.store.changePerson(key, (p) => ({ ...p, topic, name: p.name || printableName(link.name) }));
		return this.#chatWith(key, printableName(link.name));
	}

	async #chatWith(key: string, said: string): Promise<StoredChat> {
		const id = 'person-' + key;
		const held = await this.store.chat(id);
		if (held) {
			return held;
		}
		const chat: StoredChat = { id, name: said || shortKey(key), with: { person: key }, unread: 0, last: Date.now() };
		await this.store.addChat(chat);
		return chat;
	}

	/** Begins a group. */
	async found(name: string): Promise<StoredChat> {
		const id = await this.groups.found(name);
		await this.listGroups();
		return (await this.store.chat(chatOfGroup(id)))!;
	}

	/** Changes who is in a group, or its name. Those who are new are invited: where messages reach them must be known. */
	async changeGroup(id: string, change: Parameters<GroupDevice['change']>[1]): Promise<void> {
		const people = await this.store.people();
		const unreachable = change.add?.find((m) => m.key !== this.me && !people.get(m.key)?.topic);
		const members = unreachable && (await this.groups.book.group(id)).members;
		if (unreachable && !members?.some((m) => m.key === unreachable.key)) {
			throw new Error(`where messages reach ${people.get(unreachable.key)?.name || shortKey(unreachable.key)} is not known: open a contact link of theirs`);
		}
		for (const { to, payload } of await this.groups.change(id, change)) {
			await this.#queueTo(to, payload);
		}
		await this.listGroups();
		await this.flush();
	}

	// Has an invitation be sent to somebody, also if it takes until the server can be reached.
	async #queueTo(key: string, payload: Uint8Array): Promise<void> {
		const topic = (await this.store.people()).get(key)!.topic!;
		const at = Date.now();
		const sealed = await encrypt(compose({ topic, to: fromHex(key), payload, sign: this.#identity }, new Date(at), await this.#profile(true)));
		await this.store.queueAlone({ id: hex0xOf(sealedName(sealed)), at, what: sealed });
	}

	/** Invitations that wait for an answer. */
	async invitations(): Promise<readonly StoredInvitation[]> {
		return (await this.store.setting<StoredInvitation[]>('invitations')) ?? [];
	}

	/** Takes an invitation, or leaves it. */
	async answer(invitation: StoredInvitation, accept: boolean): Promise<string | undefined> {
		if (accept) {
			await this.groups.join(invitation.payload, invitation.from);
			await this.listGroups();
		}
		await this.store.alter<StoredInvitation[]>('invitations', (held = []) => held.filter((i) => i.group !== invitation.group));
		return accept ? chatOfGroup(invitation.group) : undefined;
	}

	/** Has a chat for every group, under its name of now. */
	async listGroups(): Promise<void> {
		for (const g of await this.groups.book.groups()) {
			const id = chatOfGroup(g.id);
			const name = printableName(g.name);
			const held = await this.store.chat(id);
			if (!held && !g.left) {
				await this.store.addChat({ id, name, with: { group: g.id }, unread: 0, last: Date.now() });
			} else if (held && held.name !== name) {
				await this.store.changeChat(id, (chat) => ({ ...chat, name }));
			}
		}
	}

	/** The group that a chat is, if it is one. */
	async groupOf(chat: StoredChat): Promise<GroupInfo | undefined> {
		return 'group' in chat.with ? this.groups.book.group(chat.with.group) : undefined;
	}

	/** Removes a chat with its messages. A group is left: its admins are told. */
	async leave(id: string): Promise<void> {
		const chat = await this.store.chat(id);
		if (chat && 'group' in chat.with) {
			await this.groups.leave(chat.with.group);
			await this.groups.book.forget(chat.with.group);
		}
		await this.store.removeChat(id);
		await this.#tell();
	}

	/** Shows no notifications of a chat up to a time; 0: from now on it does. */
	async mute(id: string, until: number): Promise<void> {
		await this.store.changeChat(id, ({ mutedUntil: _, ...chat }) => (until > 0 ? { ...chat, mutedUntil: until } : chat));
		const chat = await this.store.chat(id);
		if (chat && 'group' in chat.with) {
			await this.groups.mute(chat.with.group, until);
		} else {
			await this.#tell();
		}
	}

	// What holds here already is told to the server when it can be reached: every registration tells it all.
	async #tell(): Promise<void> {
		await this.refresh().catch((error: unknown) => console.warn('the server was not told', error));
	}

	/** Tells the device and the server of the chats that there are now. */
	async refresh(): Promise<void> {
		await this.groups.setChats(await othersOf(this.store, this.#identity, this.#inbox));
	}

	// What goes with messages: where answers reach the person only to those who write to them alone.
	async #profile(withTopic: boolean): Promise<{ name: string; topic: Uint8Array | undefined }> {
		return { name: await this.name(), topic: withTopic ? this.#inbox : undefined };
	}

	/** Writes a message; of a group, who of it is rung. It is kept and shown at once, and sent by {@link flush}. */
	async write(chat: StoredChat, text: string, mentioned: readonly string[] = []): Promise<void> {
		const at = this.now(); // before the answers to it
		const payload = utf8(text);
		let [id, what]: [string, Outgoing['what']] = ['', { group: '', name: '', text, mentioned }];
		if ('group' in chat.with) {
			id = hex0xOf(random(32)); // as the message is called here when it comes back
			what = { group: chat.with.group, name: id, text, mentioned };
		} else {
			const to = 'person' in chat.with ? await this.#addressOf(chat.with.person) : { topic: chat.with.topic, key: chat.with.key };
			const draft = compose({ ...to, payload, sign: this.#identity }, new Date(at), await this.#profile('person' in chat.with));
			what = await encrypt(draft);
			id = hex0xOf(sealedName(what));
		}
		await this.store.queue({ hash: id, chat: chat.id, text, sender: this.me, mine: true, at, order: at }, { id, at, what });
		changes.postMessage('changed');
	}

	async #addressOf(key: string): Promise<{ topic: Uint8Array; to: Uint8Array }> {
		const topic = (await this.store.people()).get(key)?.topic;
		if (!topic) {
			throw new Error('where messages reach them is not known: open a contact link of theirs');
		}
		return { topic, to: fromHex(key) };
	}

	/**
	 * Sends what waits, in its order. Whoever has a message already takes what is sent once more
	 * for a copy, so that nothing comes twice. Rejects when the server cannot be reached; what is
	 * left waits for the next time.
	 */
	async flush(): Promise<void> {
		await navigator.locks.request('outbox', async () => {
			for (const { id, at, what } of await this.store.outgoing()) {
				try {
					if ('group' in what) {
						const how = { id: what.name, mentioned: what.mentioned, sent: new Date(at), profile: await this.#profile(false) };
						await this.groups.say(what.group, utf8(what.text), how);
					} else {
						await this.device.post(what);
					}
					await this.store.sent(id);
				} catch (error) {
					const final = (error instanceof DeviceError && error.code === 'refused') || (error instanceof Error && error.name === 'GroupError');
					if (!final) {
						throw error;
					}
					await this.store.sent(id, (error as Error).message);
				}
				changes.postMessage('changed');
			}
		});
	}

	/** Handles what came by a push or a ring. Returns what is new, and what is to be shown no more. */
	async receive(body: string, open?: string): Promise<{ event: DeviceEvent; fresh: StoredMessage[] }> {
		const came = await this.groups.receive(body);
		return { event: came.event, fresh: await this.take(came, open) };
	}

	/** Asks for what came without a push: what was missed, and what is written in groups. */
	async history(open?: string): Promise<StoredMessage[]> {
		const came = await this.groups.history();
		const fresh = await this.take(came, open);
		if (came.event.error !== undefined) {
			throw came.event.error;
		}
		return fresh;
	}

	/** Asks for what came between the file that was restored and now, if one was. */
	async catchUp(): Promise<void> {
		const since = await this.store.setting<number>('restored');
		if (since !== undefined) {
			for (let more = true; more; ) {
				const came = await this.groups.past(new Date(since));
				await this.take(came);
				if (came.event.error !== undefined) {
					throw came.event.error;
				}
				({ more } = came.event);
			}
			await this.store.set('restored', undefined);
		}
	}

	/** Keeps the messages of an event, and returns those that a notification is to tell of; `open` is the chat that is looked at. */
	async take({ event, messages }: GroupEvent, open?: string): Promise<StoredMessage[]> {
		const fresh: StoredMessage[] = [];
		await this.listGroups();
		const people = await this.store.people();
		const wakes = new Map((await this.groups.book.groups()).map((g) => [g.id, g.wake]));
		let [order, changed] = [this.now(), false];
		const keep = async (message: StoredMessage, rings: boolean, alias: string): Promise<void> => {
			const blocked = people.get(message.sender)?.blocked ?? false;
			let isNew = await this.store.add(message, blocked || message.chat === open, alias);
			changed ||= isNew;
			if (!isNew && message.mention) {
				isNew = await this.store.noteMention(message.hash); // it came as any other before
				changed ||= isNew;
			}
			if (isNew && rings && !message.mine && !blocked && !isMuted(await this.store.chat(message.chat))) {
				fresh.push(message);
			}
		};
		for (const p of event.previews) {
			const chat = p.chat === inbox ? await this.#received(p, people.get(p.sender ?? '')?.blocked ?? false) : p.chat;
			if (chat) {
				await keep(this.#message(p, chat, order++), true, p.message);
			}
			changed ||= p.chat === inbox;
		}
		for (const m of messages) {
			await keep(this.#written(m, order++), m.mention || wakes.get(m.group) === Mode.every, m.name);
		}
		await this.device.shown([...event.previews, ...messages].map((m) => m.hash));
		if (changed) {
			changes.postMessage('changed');
		}
		return fresh;
	}

	// Takes what was encrypted to the person's own key: an invitation, which waits for an answer, or
	// a message, of which it returns the chat.
	async #received(p: Preview, blocked: boolean): Promise<string | undefined> {
		if (!p.sender || p.sender === this.me || blocked) {
			return undefined;
		}
		if (isInvitation(p.payload)) {
			const { record } = decodeInvitation(p.payload);
			const invitation = { group: record.group, name: printableName(textOf(fromHex(record.name))), from: p.sender, payload: p.payload };
			await this.store.alter<StoredInvitation[]>('invitations', (held = []) => [...held.filter((i) => i.group !== record.group), invitation].slice(-maxInvitations));
			return undefined;
		}
		const known = await this.store.chat('person-' + p.sender);
		if (!known && (await this.store.chats()).filter((c) => 'person' in c.with).length >= maxStrangers) {
			return undefined;
		}
		const topic = p.profile?.topic;
		if (topic) {
			await this.store.changePerson(p.sender, (person) => ({ ...person, topic }));
		}
		return (await this.#chatWith(p.sender, printableName(p.profile?.name ?? ''))).id;
	}

	#message(p: Preview, chat: string, order: number): StoredMessage {
		const said = printableName(p.profile?.name ?? '');
		return {
			hash: p.hash, chat, text: textOf(p.payload).slice(0, maxText), sender: p.sender ?? '', ...(said ? { said } : {}),
			mine: p.sender === this.me, at: p.sent.getTime(), order,
		};
	}

	#written(m: GroupMessage, order: number): StoredMessage {
		const said = printableName(m.profile?.name ?? '');
		return {
			hash: m.name, chat: chatOfGroup(m.group), text: textOf(m.payload).slice(0, maxText), sender: m.author, ...(said ? { said } : {}),
			mine: m.author === this.me, at: m.sent.getTime(), order: Math.max(order - maxLate, Math.min(order, m.sent.getTime())), ...(m.mention ? { mention: true } : {}),
		};
	}
}
