import { fromHex, hex0x } from '../bytes.js';
import { type Chat, chatId, printable } from '../device/chat.js';
import { compose } from '../device/compose.js';
import { type DeviceEvent } from '../device/delivery.js';
import { DeviceError, isRefused } from '../device/errors.js';
import { maxFetch } from '../push/limits.js';
import { Code } from '../push/reply.js';
import { publicKeyOf } from '../whisper/keys.js';
import { encrypt, type Sealed, sealedName } from '../whisper/seal.js';
import { type Core } from './core.js';
import { type Draft } from './model.js';
import { Display, type InboxRecord, isAfter } from './records.js';
import { encodeSync, latestMute, maxSyncChanges, maxSyncMarks } from './sync.js';

/** How often the history asks for what did not fit into one event. */
const maxRounds = 64;

/** Tells others what waits for them. */
export class Outbox {
	readonly #core: Core;
	#turn: Promise<unknown> = Promise.resolve();

	constructor(core: Core) {
		this.#core = core;
	}

	/** See `Inbox.flush`. */
	flush(): Promise<void> {
		const result = this.#turn.then(() => this.#flush());
		this.#turn = result.catch(() => undefined);
		return result;
	}

	// What lasts comes before what does not: if this device were put back to before it, it would
	// learn again what the others know. Each stands for itself: a message that the server does not
	// take holds back nothing else. Only a mailserver that cannot be reached holds back all.
	async #flush(): Promise<void> {
		let failed: { error: unknown } | undefined;
		const tells = [() => this.#core.catchMissed(), () => this.#tellSync(), () => this.#tellSeen(), () => this.#tellChannels(), () => this.#catchUp(), () => this.#post()];
		for (const tell of tells) {
			try {
				await tell();
			} catch (error) {
				failed ??= { error };
				if (error instanceof DeviceError && (error.code === 'gave-up' || error.code === 'closed')) {
					break;
				}
			}
		}
		if (failed) {
			throw failed.error;
		}
	}

	async #note(...records: InboxRecord[]): Promise<void> {
		const { inTurn } = this.#core;
		await inTurn.call(this.#core, () => this.#core.change((t) => records.forEach((r) => t.add(r))));
	}

	#look<T>(look: () => T): Promise<T> {
		return this.#core.inTurn(() => this.#core.change(look)) as Promise<T>;
	}

	// Tells the server what was read here.
	async #tellSeen(): Promise<void> {
		const owed = await this.#look(() => [...this.#core.model.telling.values()]);
		for (let at = 0; at < owed.length; at += maxFetch) {
			const hashes = owed.slice(at, at + maxFetch);
			await unlessUnregistered(() => this.#core.device.seen(hashes)); // one who is not registered is not woken
			await this.#note({ kind: 'told', hashes });
		}
	}

	// Tells the other devices what was read, muted and blocked here.
	async #tellSync(): Promise<void> {
		const { device, sync, now } = this.#core;
		for (;;) {
			const { marks, changes } = await this.#look(() => ({
				marks: this.#core.model.sync.list.slice(0, maxSyncMarks),
				changes: [...this.#core.model.stamps.values()].sort((a, b) => (isAfter(a.stamp, b.stamp) ? 1 : -1)).slice(0, maxSyncChanges),
			}));
			if (marks.length + changes.length === 0) {
				return;
			}
			if (sync) {
				const sealed = await encrypt(compose({ topic: sync.topic, key: sync.key, payload: encodeSync(marks, changes) }, new Date(now())));
				// What was read wakes nobody: the server's dismissal does. A mute is to be obeyed at once.
				await device.post(sealed, { wake: changes.length > 0 });
			}
			await this.#note({ kind: 'synced', marks, stamps: changes.map((c) => c.stamp) });
		}
	}

	// Tells the server which chats are muted, and of new ones.
	async #tellChannels(): Promise<void> {
		const core = this.#core;
		const owed = await this.#look(() => {
			if (!core.model.channels) {
				return undefined;
			}
			const muted = (c: Chat) => core.model.mutes.get(chatId(c));
			const chats = core.listed.map(({ mutedUntil, ...c }): Chat => {
				const until = muted(c)?.until;
				const held = until === undefined ? mutedUntil : core.model.isMuted(chatId(c), core.now()) ? new Date(Math.min(until, latestMute) * 1000) : undefined;
				return held ? { ...c, mutedUntil: held } : c;
			});
			return { chats: chats.sort((a, b) => (chatId(a) < chatId(b) ? -1 : 1)), topics: core.listed.filter(muted).map((c) => c.topic) };
		});
		if (owed) {
			core.device.doubt(owed.topics);
			await unlessUnregistered(() => core.device.setChats(owed.chats)); // register tells the server all
			await this.#note({ kind: 'channels', told: true });
		}
	}

	// Asks for what came while a chat was muted, as the server woke nobody for it.
	async #catchUp(): Promise<void> {
		if (await this.#look(() => this.#core.model.behind)) {
			await this.history();
			await this.#look(() => void (this.#core.model.behind = false));
		}
	}

	/** Asks for all that came since the last time. */
	async history(): Promise<void> {
		for (let round = 0; round < maxRounds; round++) {
			const event = await this.#core.device.history();
			await this.took(event);
			if (!event.more || event.previews.length + event.unopened.length === 0) {
				return;
			}
		}
	}

	/** Takes an event, and throws its error. */
	async took(event: DeviceEvent): Promise<void> {
		await this.#core.take(event);
		if (event.error !== undefined) {
			throw event.error;
		}
	}

	// Sends what was written.
	async #post(): Promise<void> {
		const core = this.#core;
		const drafts = await this.#look(() => [...core.model.drafts.values()].map((d) => ({ ...d })));
		for (const draft of drafts) {
			const sealed = draft.sealed ?? (await this.#sealed(draft));
			if (!sealed) {
				continue;
			}
			const hash = await core.device.post(sealed);
			const sender = core.own[0] ? hex0x(publicKeyOf(core.own[0])) : '';
			await core.update((t) => {
				t.add({
					kind: 'message', hash, message: hex0x(sealedName(sealed)), chat: draft.chat, sender, payload: draft.payload, text: printable(draft.payload),
					sent: draft.written, came: t.now, claimed: false, own: true, read: true, known: false, display: Display.not, copies: [],
				});
				t.add({ kind: 'posted', id: draft.id, failure: '' });
			});
		}
	}

	// Encrypts a message, and keeps that: from now on it is this message, whatever happens, and who gets
	// it twice takes the second for a copy. Undefined: it can never be sent, which is kept too.
	async #sealed(draft: Draft): Promise<Sealed | undefined> {
		try {
			const sealed = await this.#seal(draft);
			await this.#note({ kind: 'sealed', id: draft.id, sealed });
			return sealed;
		} catch (error) {
			if (!(error instanceof Unsendable)) {
				throw error;
			}
			await this.#note({ kind: 'posted', id: draft.id, failure: error.message });
			return undefined;
		}
	}

	async #seal(draft: Draft): Promise<Sealed> {
		const { chats, own } = this.#core;
		const chat = chats.get(draft.chat);
		if (!chat) {
			throw new Unsendable(`there is no chat ${draft.chat} any more`);
		}
		if (!chat.key && draft.to === '') {
			throw new Unsendable(`chat ${draft.chat} has no key of its own, and nobody signed the message that is answered`);
		}
		const how = chat.key ? { key: chat.key } : { to: fromHex(draft.to) };
		return encrypt(compose({ topic: chat.topic, ...how, payload: draft.payload, ...(own[0] ? { sign: own[0] } : {}) }, new Date(draft.written)));
	}
}

class Unsendable extends Error {}

async function unlessUnregistered(task: () => Promise<unknown>): Promise<void> {
	try {
		await task();
	} catch (error) {
		if (!isRefused(error, Code.notRegistered)) {
			throw error;
		}
	}
}
