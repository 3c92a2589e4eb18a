// What a messenger is put together of.
import { type Chat, hexOf, newPrivateKey, type SealedStore } from './client.js';
import { isMuted } from './names.js';
import { type AppStore } from './store.js';

/** What the device calls the chat of messages that are encrypted to the person's own key. */
export const inbox = 'inbox';

/** Before its end a subscription is renewed, in milliseconds. */
const renewal = 24 * 3600_000;

/** Whether a subscription is one with the server's key, and does not end soon. */
export function lasts(subscription: PushSubscription, key: Uint8Array): boolean {
	const made = subscription.options?.applicationServerKey;
	const ends = subscription.expirationTime ?? Infinity;
	return ends > Date.now() + renewal && (!made || hexOf(new Uint8Array(made)) === hexOf(key));
}

/** The person's private key as it is kept. */
export interface SealedIdentity {
	readonly sealed: Uint8Array;
}

/** Reads the person's key, or makes it. One of an earlier version, which lay there as it is, is encrypted. */
export async function identityOf(store: AppStore, vault: SealedStore): Promise<Uint8Array> {
	const held = await store.setting<SealedIdentity | Uint8Array>('identity');
	if (held instanceof Uint8Array) {
		await store.set('identity', { sealed: await vault.seal(held) } satisfies SealedIdentity);
		return held;
	}
	const { sealed } = held ?? (await store.settle<SealedIdentity>('identity', { sealed: await vault.seal(newPrivateKey()) }));
	return vault.unseal(sealed);
}

/** The chat that a group is. */
export const chatOfGroup = (id: string): string => 'group-' + id;

/** The device's chats that are no group's. */
export async function othersOf(store: AppStore, identity: Uint8Array, topic: Uint8Array): Promise<Chat[]> {
	const chats: Chat[] = [{ name: inbox, topic, identity }];
	for (const { id, with: how, mutedUntil } of await store.chats()) {
		if ('key' in how) {
			chats.push({ name: id, topic: how.topic, key: how.key, ...(isMuted({ mutedUntil }) ? { mutedUntil: new Date(mutedUntil!) } : {}) });
		}
	}
	return chats;
}
