// People in groups, each with a device at one server.
import { hex } from '../src/bytes.js';
import { DeviceError, Device, MemoryStore, tokenRoute } from '../src/device/index.js';
import { isProtocolError } from '../src/errors.js';
import { Book, GroupDevice, type GroupMessage } from '../src/group/index.js';
import { TestClock, TestServer } from './server.js';
import { mine, type Miner } from '../src/whisper/index.js';
import { filled } from './support.js';

const eager: Miner = (w, target, signal) => mine(w, target, { signal, slice: Infinity });

export class Person {
	readonly book: Book;
	readonly device: Device;
	readonly groups: GroupDevice;
	/** What was written to them, and how often they were woken for messages. */
	readonly messages: GroupMessage[] = [];
	woken = 0;

	private constructor(book: Book, device: Device) {
		[this.book, this.device] = [book, device];
		this.groups = new GroupDevice(book, device, []);
	}

	static async at(server: TestServer, seed: number, clock: TestClock): Promise<Person> {
		const book = new Book(new MemoryStore(), filled(32, seed));
		const device = await Device.open({
			pushKey: server.pushKey, transport: server, store: new MemoryStore(), clock, chats: await GroupDevice.chats(book, []), mail: { nodeKey: server.pushKey }, miner: eager,
		});
		const person = new Person(book, device);
		await device.register({ routes: [tokenRoute('fcm', `token ${seed}`)] });
		await device.receive(server.pushes.pop()!);
		return person;
	}

	get me(): string {
		return this.book.me;
	}

	texts(): string[] {
		return this.messages.map((m) => new TextDecoder().decode(m.payload));
	}

	async take(ask: () => ReturnType<GroupDevice['history']>): Promise<void> {
		const { event, messages } = await ask();
		if (event.error !== undefined) {
			throw event.error;
		}
		for (const m of messages) {
			const known = this.messages.findIndex((o) => o.name === m.name);
			if (known < 0) {
				this.messages.push(m);
			} else if (m.mention) {
				this.messages[known] = m;
			}
		}
		await this.device.shown(messages.map((m) => m.hash));
	}
}

/** People at one server, whose pushes reach those they are for. */
export class Town {
	readonly clock = new TestClock();
	readonly server = new TestServer(this.clock);
	readonly people: Person[] = [];

	constructor() {
		this.clock.time = Date.now(); // groups take their times from the system
	}

	async person(seed: number): Promise<Person> {
		const person = await Person.at(this.server, seed, this.clock);
		this.people.push(person);
		return person;
	}

	/** Hands out the pushes until there are none. */
	async settle(): Promise<void> {
		for (let n = 0; this.server.pushes.length > 0; n++) {
			if (n > 1000) {
				throw new Error('there is no end of pushes');
			}
			const body = this.server.pushes.shift()!;
			for (const person of this.people) {
				try {
					await person.take(() => person.groups.receive(body));
					person.woken++;
				} catch (error) {
					if (!isProtocolError(error) && !(error instanceof DeviceError && error.code === 'not-ours')) {
						throw error;
					}
				}
			}
		}
	}

	async history(): Promise<void> {
		for (const person of this.people) {
			await person.take(() => person.groups.history());
		}
	}

	/** How many topics the server knows of somebody. */
	topics(person: Person): number {
		return this.server.accounts.get(hex(person.device.registrationKey))!.channels.size;
	}
}
