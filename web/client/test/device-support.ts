// A device, its server and its app, as the tests of the device have them.
import assert from 'node:assert/strict';
import { utf8 } from '../src/bytes.js';
import { type Chat, Device, type DeviceConfig, type DeviceEvent, MemoryStore, tokenRoute } from '../src/device/index.js';
import { Envelope, mine, type Miner, seal, topicFor } from '../src/whisper/index.js';
import { TestClock, TestServer } from './server.js';
import { filled } from './support.js';

export const family: Chat = { name: 'family', topic: topicFor('family'), key: filled(32, 1) };
export const work: Chat = { name: 'work', topic: topicFor('work'), key: filled(32, 2) };
export const registration = { routes: [tokenRoute('fcm', 'token')] };
const eager: Miner = (w, target, signal) => mine(w, target, { signal, slice: Infinity });

/** One server, one clock, one store. */
export class World {
	readonly clock = new TestClock();
	readonly server = new TestServer(this.clock);
	readonly store = new MemoryStore();

	open(config: Partial<DeviceConfig> = {}): Promise<Device> {
		const { server, store, clock } = this;
		return Device.open({
			pushKey: server.pushKey, transport: server, store, clock, chats: [family], miner: eager, mail: { nodeKey: server.pushKey }, ...config,
		});
	}

	/** A device that is registered and confirmed. */
	async registered(config: Partial<DeviceConfig> = {}): Promise<Device> {
		const device = await this.open(config);
		await device.register(registration);
		const challenge = await device.receive(this.server.pushes.pop()!);
		assert.equal(challenge.error, undefined);
		assert.ok(await device.active());
		return device;
	}

	/** A message that somebody sends, and that the server wakes its devices for. */
	async written(text: string, chat: Chat = family, more: object = {}): Promise<Envelope> {
		const envelope = await seal({ payload: utf8(text), topic: chat.topic, key: chat.key, now: new Date(this.clock.time), ...more });
		await this.server.deliver(envelope);
		this.clock.time += 1000;
		return envelope;
	}
}

export const texts = (event: Pick<DeviceEvent, 'previews'>): string[] => event.previews.map((p) => p.text);
