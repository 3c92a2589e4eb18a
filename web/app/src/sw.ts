// The service worker: it keeps the app to be opened without a network, and shows what pushes tell of.
import { PayloadKind } from './client.js';
import { changes, Messenger } from './messenger.js';
import { isOfChat, notify, notifyOf } from './notify.js';
import { AppStore } from './store.js';

interface Extendable extends Event {
	waitUntil(promise: Promise<unknown>): void;
}
interface PushEvent extends Extendable {
	readonly data: { text(): string } | null;
}
interface NotificationEvent extends Extendable {
	readonly notification: Notification;
	readonly action: string;
	/** What was written, where the action is one to write in. */
	readonly reply?: string | null;
}
interface FetchEvent extends Extendable {
	readonly request: Request;
	respondWith(response: Promise<Response>): void;
}
interface WindowClient {
	readonly visibilityState: string;
	focus(): Promise<WindowClient>;
	postMessage(message: unknown): void;
}
declare const self: EventTarget & {
	readonly registration: ServiceWorkerRegistration;
	readonly location: Location;
	skipWaiting(): Promise<void>;
	readonly clients: {
		matchAll(options: { type: 'window'; includeUncontrolled: boolean }): Promise<WindowClient[]>;
		openWindow(url: string): Promise<WindowClient | null>;
		claim(): Promise<void>;
	};
};

const cacheName = 'app';
const files = ['/', '/app.js', '/mine.js', '/style.css', '/icon.svg', '/manifest.webmanifest'];

const on = <E extends Event>(name: string, listener: (event: E) => void): void => self.addEventListener(name, listener as EventListener);

on<Extendable>('install', (event) => {
	event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(files)).then(() => self.skipWaiting()));
});
on<Extendable>('activate', (event) => event.waitUntil(self.clients.claim()));

// The network first, so that a new version is used at once; what is kept is for when there is none.
on<FetchEvent>('fetch', (event) => {
	const url = new URL(event.request.url);
	if (event.request.method !== 'GET' || url.origin !== self.location.origin || !files.includes(url.pathname)) {
		return;
	}
	event.respondWith(
		(async () => {
			const cache = await caches.open(cacheName);
			try {
				const response = await fetch(event.request);
				if (response.ok) {
					await cache.put(url.pathname, response.clone());
				}
				return response;
			} catch (error) {
				const kept = await cache.match(url.pathname);
				if (kept) {
					return kept;
				}
				throw error;
			}
		})(),
	);
});

on<PushEvent>('push', (event) => event.waitUntil(pushed(event.data?.text() ?? '')));

const show = (title: string, options: NotificationOptions): Promise<void> => notify(self.registration, title, options);

async function using<T>(task: (messenger: Messenger) => Promise<T>): Promise<T> {
	const messenger = await Messenger.open(self.location.origin);
	try {
		return await task(messenger);
	} finally {
		messenger.device.close();
	}
}

async function pushed(body: string): Promise<void> {
	try {
		if (await using((messenger) => handled(messenger, body))) {
			return;
		}
	} catch (error) {
		console.warn('a push could not be handled', error);
	}
	// Browsers want every push to show something.
	await show('Messages', { body: 'You may have new messages.', tag: 'new', silent: true });
}

/** Takes a push, and says whether something was shown. */
async function handled(messenger: Messenger, body: string): Promise<boolean> {
	const { event, fresh } = await messenger.receive(body);
	await notifyOf(self.registration, messenger, fresh);
	await closeWhere((n) => event.dismissed.includes(n.tag));
	if (fresh.length > 0) {
		return true;
	}
	if (event.kind === PayloadKind.challenge && event.error === undefined) {
		await show('Notifications are on', { body: 'This browser is told of new messages.', tag: 'setup', silent: true });
		return true;
	}
	return false;
}

async function closeWhere(which: (n: Notification) => boolean): Promise<void> {
	(await self.registration.getNotifications()).filter(which).forEach((n) => n.close());
}

// The browser has another subscription, or none any more: the server is to know.
on<Extendable>('pushsubscriptionchange', (event) => event.waitUntil(using((messenger) => messenger.home.resubscribe(self.registration))));

// The network is back, and no window is there to send what waits.
on<Extendable>('sync', (event) => event.waitUntil(using((messenger) => messenger.flush())));

on<NotificationEvent>('notificationclick', (event) => {
	const { notification, action, reply } = event;
	const { chat } = (notification.data ?? {}) as { chat?: string };
	notification.close();
	if (chat && action === 'read') {
		event.waitUntil(read(chat));
	} else if (chat && action === 'reply' && reply?.trim()) {
		event.waitUntil(answer(chat, reply.trim()));
	} else {
		event.waitUntil(openChat(chat));
	}
});

/** Marks a chat as read, which its other notifications need not tell any more. */
async function read(id: string): Promise<void> {
	await new AppStore().markRead(id);
	changes.postMessage('changed');
	await closeWhere(isOfChat(id));
}

async function answer(id: string, text: string): Promise<void> {
	try {
		await using(async (messenger) => {
			const chat = await messenger.store.chat(id);
			if (!chat) {
				throw new Error('the chat is not there any more');
			}
			await messenger.write(chat, text);
			await read(id);
			await messenger.flush();
		});
	} catch (error) {
		console.warn('an answer was not sent', error);
		await show('Your answer is not sent yet', { body: 'Open the app: it is sent when the server can be reached.', tag: 'answer', data: { chat: id } });
	}
}

async function openChat(chat: string | undefined): Promise<void> {
	const [window] = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
	if (window) {
		window.postMessage({ open: chat });
		await window.focus();
	} else {
		await self.clients.openWindow(chat ? '/#' + chat : '/');
	}
}
