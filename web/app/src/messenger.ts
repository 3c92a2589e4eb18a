// The device of this browser and what the app makes of what it brings: the same in a window and in
// the service worker.
import {
	applicationServerKey, Device, type DeviceEvent, DoorTransport, hex0xOf, IndexedDbStore, type Miner, newPrivateKey, passwordKey, providerInfo,
	publicKeyOf, topicFor, webPushRoute, type Route,
} from './client.js';
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

	static async open(origin: string, miner?: Miner): Promise<Messenger> {
		const store = new AppStore();
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
			pushKey: server.pushKey, transport, store: new IndexedDbStore(), miner, mail: { nodeKey: server.nodeKey },
			chats: (await store.chats()).map(chatOf),
		});
		return new Messenger(store, device, server, identity);
	}

	/** The public key by which others see who wrote. */
	get me(): string {
		return hex0xOf(publicKeyOf(this.#identity));
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

	/** Tells the device and the server of the chats that there are now. */
	async refresh(): Promise<void> {
		const chats = (await this.store.chats()).map(chatOf);
		await this.device.setChats(chats);
	}

	async send(chat: StoredChat, text: string): Promise<void> {
		const payload = new TextEncoder().encode(text);
		const order = Date.now(); // before the answers to it
		const hash = await this.device.send({ ...chatOf(chat), payload, sign: this.#identity });
		await this.store.add({ hash, chat: chat.id, text, sender: this.me, mine: true, at: order, order }, true);
		changes.postMessage('changed');
	}

	/** Handles what came by a push or a ring. Returns what is new, and what is to be shown no more. */
	async receive(body: string, open?: string): Promise<{ event: DeviceEvent; fresh: StoredMessage[] }> {
		const event = await this.device.receive(body);
		return { event, fresh: await this.take(event, open) };
	}

	/** Keeps the messages of an event; `open` is the chat that is looked at. */
	async take(event: DeviceEvent, open?: string): Promise<StoredMessage[]> {
		const fresh: StoredMessage[] = [];
		let order = Date.now();
		for (const p of event.previews) {
			const text = new TextDecoder().decode(p.payload).slice(0, 10_000);
			const message = { hash: p.hash, chat: p.chat, text, sender: p.sender ?? '', mine: p.sender === this.me, at: p.sent.getTime(), order: order++ };
			if (await this.store.add(message, p.chat === open)) {
				fresh.push(message);
			}
		}
		await this.device.shown(event.previews.map((p) => p.hash));
		if (fresh.length > 0) {
			changes.postMessage('changed');
		}
		return fresh;
	}
}

const chatOf = ({ id, topic, key }: StoredChat) => ({ name: id, topic, key });
