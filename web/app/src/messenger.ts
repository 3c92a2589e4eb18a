// The device of this browser and what the app makes of what it brings: the same in a window and in
// the service worker.
import {
	applicationServerKey, type Chat, compose, Device, DeviceError, type DeviceEvent, DoorTransport, encrypt, hex0xOf, IndexedDbStore, maxName, type Miner,
	newPrivateKey, passwordKey, type Preview, providerInfo, publicKeyOf, sealedName, textOf, topicFor, utf8, webPushRoute, type Route,
} from './client.js';
import { isMuted, printableName } from './names.js';
import { AppStore, type StoredChat, type StoredMessage } from './store.js';

/** The server, as it was met for the first time. Another key at the same address is another server. */
interface Server {
	readonly pushKey: Uint8Array;
	readonly nodeKey: Uint8Array;
	readonly vapid: string;
	readonly direct: boolean;
}

/** Tells the other windows that something changed. */
export const changes = new BroadcastChannel('whisperpush');

/** The longest text of a message that is kept, in characters. */
const maxText = 10_000;

/** How a {@link Messenger} is opened. */
export interface MessengerOptions {
	readonly miner?: Miner | undefined;
	/** Called when a window of an older version is in the way. */
	readonly blocked?: () => void;
}

export class Messenger {
	readonly store: AppStore;
	readonly device: Device;
	readonly #server: Server;
	readonly #identity: Uint8Array;

	private constructor(store: AppStore, device: Device, server: Server, identity: Uint8Array) {
		this.store = store;
		this.device = device;
		this.#server = server;
		this.#identity = identity;
	}

	static async open(origin: string, options: MessengerOptions = {}): Promise<Messenger> {
		const store = new AppStore(options.blocked);
		const transport = new DoorTransport(origin);
		let server = await store.setting<Server>('server');
		if (!server) {
			const { pushKey, nodeKey, offer } = await transport.offer();
			if (!nodeKey) {
				throw new Error('the server names its node in a way that this app does not know');
			}
			const vapid = providerInfo(offer, 'webpush') ?? '';
			server = await store.settle('server', { pushKey, nodeKey, vapid, direct: providerInfo(offer, 'direct') !== undefined });
		}
		const identity = await store.settle('identity', newPrivateKey());
		const device = await Device.open({
			pushKey: server.pushKey, transport, store: new IndexedDbStore(), miner: options.miner, mail: { nodeKey: server.nodeKey },
			chats: (await store.chats()).map(chatOf),
		});
		return new Messenger(store, device, server, identity);
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

	/** Registers the device: it is rung over its stream while a window is open, and by the browser's push service otherwise, if there is a subscription. */
	async register(subscription: PushSubscription | null): Promise<void> {
		const routes: Route[] = [];
		if (this.#server.direct) {
			routes.push(this.device.directRoute());
		}
		if (subscription) {
			routes.push(webPushRoute(subscription));
		}
		if (routes.length > 0) {
			await this.device.register({ routes });
		}
	}

	/** Whether the server wakes by Web Push. */
	get pushes(): boolean {
		return this.#server.vapid !== '';
	}

	async subscribe(registration: ServiceWorkerRegistration): Promise<PushSubscription> {
		const held = await registration.pushManager.getSubscription();
		return held ?? registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: applicationServerKey(this.#server.vapid) as BufferSource });
	}

	/** Adds a chat whose members share a password. */
	async join(name: string, password: string): Promise<StoredChat> {
		const chat: StoredChat = { id: crypto.randomUUID(), name, topic: topicFor(name), key: await passwordKey(password), unread: 0, last: Date.now() };
		await this.store.addChat(chat);
		await this.refresh();
		return chat;
	}

	/** Removes a chat with its messages. */
	async leave(id: string): Promise<void> {
		await this.store.removeChat(id);
		await this.refresh();
	}

	/** Shows no notifications of a chat up to a time; 0: from now on it does. */
	async mute(id: string, until: number): Promise<void> {
		await this.store.changeChat(id, ({ mutedUntil: _, ...chat }) => (until > 0 ? { ...chat, mutedUntil: until } : chat));
		await this.refresh();
	}

	/** Tells the device and the server of the chats that there are now. */
	async refresh(): Promise<void> {
		const chats = (await this.store.chats()).map(chatOf);
		await this.device.setChats(chats);
	}

	/** Writes a message. It is kept and shown at once, and sent by {@link flush}. */
	async write(chat: StoredChat, text: string): Promise<void> {
		const at = Date.now(); // before the answers to it
		const { topic, key } = chat;
		const draft = compose({ topic, key, payload: utf8(text), sign: this.#identity }, new Date(at), { name: await this.name(), topic: undefined });
		const sealed = await encrypt(draft);
		const id = hex0xOf(sealedName(sealed));
		await this.store.queue({ hash: id, chat: chat.id, text, sender: this.me, mine: true, at, order: at }, { id, ...sealed, at });
		changes.postMessage('changed');
	}

	/**
	 * Sends what waits, in its order. Whoever has a message already takes what is sent once more
	 * for a copy, so that nothing comes twice. Rejects when the server cannot be reached; what is
	 * left waits for the next time.
	 */
	async flush(): Promise<void> {
		await navigator.locks.request('outbox', async () => {
			for (const { id, topic, data } of await this.store.outgoing()) {
				try {
					await this.device.post({ topic, data });
					await this.store.sent(id);
				} catch (error) {
					if (!(error instanceof DeviceError) || error.code !== 'refused') {
						throw error;
					}
					await this.store.sent(id, error.message);
				}
				changes.postMessage('changed');
			}
		});
	}

	/** Handles what came by a push or a ring. Returns what is new, and what is to be shown no more. */
	async receive(body: string, open?: string): Promise<{ event: DeviceEvent; fresh: StoredMessage[] }> {
		const event = await this.device.receive(body);
		return { event, fresh: await this.take(event, open) };
	}

	/** Keeps the messages of an event, and returns those that a notification is to tell of; `open` is the chat that is looked at. */
	async take(event: DeviceEvent, open?: string): Promise<StoredMessage[]> {
		const fresh: StoredMessage[] = [];
		const people = await this.store.people();
		const chats = new Map((await this.store.chats()).map((c) => [c.id, c]));
		let [order, changed] = [Date.now(), false];
		for (const p of event.previews) {
			const message = this.#message(p, order++);
			const blocked = people.get(message.sender)?.blocked ?? false;
			if (await this.store.add(message, blocked || p.chat === open, p.message)) {
				changed = true;
				if (!message.mine && !blocked && !isMuted(chats.get(p.chat))) {
					fresh.push(message);
				}
			}
		}
		await this.device.shown(event.previews.map((p) => p.hash));
		if (changed) {
			changes.postMessage('changed');
		}
		return fresh;
	}

	#message(p: Preview, order: number): StoredMessage {
		const said = printableName(p.profile?.name ?? '');
		return {
			hash: p.hash, chat: p.chat, text: textOf(p.payload).slice(0, maxText), sender: p.sender ?? '', ...(said ? { said } : {}),
			mine: p.sender === this.me, at: p.sent.getTime(), order,
		};
	}
}

const chatOf = ({ id, topic, key, mutedUntil }: StoredChat): Chat => ({
	name: id, topic, key, ...(mutedUntil !== undefined && mutedUntil > Date.now() ? { mutedUntil: new Date(mutedUntil) } : {}),
});
