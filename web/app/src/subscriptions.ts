// Push subscriptions of the window: each server has one of its own, at a service worker of its own.
import { type Home, subscription, type Subscribe } from './home.js';
import { type Server } from './server.js';

/** The service worker that a server's pushes come to, when it is at work. */
async function workerOf(server: Server): Promise<ServiceWorkerRegistration> {
	const registration = await navigator.serviceWorker.register('/sw.js', { scope: server.scope ?? '/' });
	const worker = registration.active ?? registration.waiting ?? registration.installing;
	await new Promise<void>((resolve, reject) => {
		const look = (): void => {
			if (registration.active) {
				resolve();
			} else if (worker?.state === 'redundant') {
				reject(new Error('the browser does not keep the service worker'));
			}
		};
		worker?.addEventListener('statechange', look);
		look();
	});
	return registration;
}

/** Whether the person lets the app show notifications. */
export const isGranted = (): boolean => window.Notification?.permission === 'granted' && navigator.serviceWorker !== undefined;

export const subscribe: Subscribe = async (server, another) =>
	isGranted() && server.vapid !== '' ? subscription(await workerOf(server), server, another) : null;

/** Whether a notification would come, if there was one: the browser has a subscription for the server in use. */
export async function isSubscribed(home: Home): Promise<boolean> {
	const [server] = home.servers;
	const registration = await navigator.serviceWorker?.getRegistration(server!.scope ?? '/');
	return ((await registration?.pushManager?.getSubscription()) ?? null) !== null;
}

/** Ends what servers that were left had of this browser. */
export async function tidy(home: Home): Promise<void> {
	const used = new Set(home.servers.map((s) => s.scope ?? '/'));
	for (const registration of (await navigator.serviceWorker?.getRegistrations()) ?? []) {
		const scope = new URL(registration.scope).pathname;
		if (!used.has(scope)) {
			await (await registration.pushManager?.getSubscription())?.unsubscribe();
			await (scope === '/' || registration.unregister()); // that of the page keeps the app
		}
	}
}

/** The notifications that are shown. */
export async function shownNotifications(): Promise<Notification[]> {
	const all = (await navigator.serviceWorker?.getRegistrations()) ?? [];
	return (await Promise.all(all.map((r) => r.getNotifications()))).flat();
}
