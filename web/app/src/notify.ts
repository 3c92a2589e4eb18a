// Notifications of messages, of the window and of the service worker.
import { type Messenger } from './messenger.js';
import { senderOf, titleOf } from './names.js';
import { type StoredMessage } from './store.js';

/** An answer can be written in the notification itself where the browser knows the type `text`; elsewhere the button opens the chat. */
const actions = [{ action: 'reply', type: 'text', title: 'Reply', placeholder: 'Message' }, { action: 'read', title: 'Mark as read' }];

/** The longest text that is shown, in characters. */
const maxShown = 240;

export const notify = (registration: ServiceWorkerRegistration, title: string, options: NotificationOptions & { actions?: typeof actions }): Promise<void> =>
	registration.showNotification(title, { icon: '/icon.svg', ...options });

/** Shows a notification for each of these messages. */
export async function notifyOf(registration: ServiceWorkerRegistration, messenger: Messenger, messages: readonly StoredMessage[]): Promise<void> {
	const chats = new Map((await messenger.store.chats()).map((c) => [c.id, c]));
	const people = await messenger.store.people();
	for (const m of messages) {
		const chat = chats.get(m.chat);
		const [named, text] = [people.get(m.sender)?.name || m.said, m.text.slice(0, maxShown)];
		const body = named && !(chat && 'person' in chat.with) ? `${senderOf(m, people)}: ${text}` : text;
		await notify(registration, chat ? titleOf(chat) : 'Message', { body, tag: m.hash, data: { chat: m.chat }, actions });
	}
}

/** Whether a notification is of a chat. */
export const isOfChat = (chat: string) => (n: Notification): boolean => (n.data as { chat?: string } | null)?.chat === chat;
