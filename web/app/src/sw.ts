// The service worker: it keeps the app to be opened without a network, and shows what pushes tell of.
import { PayloadKind } from './client.js';
import { Messenger } from './messenger.js';

interface Extendable extends Event {
	waitUntil(promise: Promise<unknown>): void;
}
interface PushEvent extends Extendable {
	readonly data: { text(): string } | null;
}
interface NotificationEvent extends Extendable {
	readonly notification: Notification;
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

async function pushed(body: string): Promise<void> {
	const show = (title: string, options: NotificationOptions): Promise<void> => self.registration.showNotification(title, { icon: '/icon.svg', ...options });
	try {
		const messenger = await Messenger.open(self.location.origin);
		const { event, fresh } = await messenger.receive(body);
		const chats = new Map((await messenger.store.chats()).map((c) => [c.id, c.name]));
		const theirs = fresh.filter((m) => !m.mine);
		for (const m of theirs) {
			await show(chats.get(m.chat) ?? 'Message', { body: m.text.slice(0, 240), tag: m.hash, data: { chat: m.chat } });
		}
		const open = await self.registration.getNotifications();
		open.filter((n) => event.dismissed.includes(n.tag)).forEach((n) => n.close());
		messenger.device.close();
		if (theirs.length > 0) {
			return;
		}
		if (event.kind === PayloadKind.challenge && event.error === undefined) {
			await show('Notifications are on', { body: 'This browser is told of new messages.', tag: 'setup', silent: true });
			return;
		}
	} catch (error) {
		console.warn('a push could not be handled', error);
	}
	// Browsers want every push to show something.
	await show('Messages', { body: 'You may have new messages.', tag: 'new', silent: true });
}

on<NotificationEvent>('notificationclick', (event) => {
	const { notification } = event;
	const { chat } = (notification.data ?? {}) as { chat?: string };
	notification.close();
	event.waitUntil(
		(async () => {
			const [window] = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
			if (window) {
				window.postMessage({ open: chat });
				await window.focus();
			} else {
				await self.clients.openWindow(chat ? '/#' + chat : '/');
			}
		})(),
	);
});
