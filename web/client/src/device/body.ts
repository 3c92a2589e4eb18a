import { DeviceError } from './errors.js';

/**
 * The most bytes that a platform hands to the app: a body of at most 4096, as a string in
 * a string, and what the platform adds.
 */
const maxPush = 16 * 1024;

/** How many objects a platform may put around a body. */
const maxWrapped = 3;

// Those of a body, see docs/protocol.md.
const members = ['v', 'p', 'k', 's', 'm', 'h', 'c', 'b', 'a'];

// In which platforms put a body, as an object or as the same in a string.
const wrappers = ['data', 'message', 'payload', 'custom'];

const notOurs = (why: string): DeviceError => new DeviceError('not-ours', `not a push of a mailserver: ${why}`);

/**
 * Finds the body of a wake-up in what a platform hands to the app: JSON text or bytes, of
 * which the members of the body are taken, or of an object inside it. Throws a DeviceError,
 * `not-ours`, if there is none.
 */
export function bodyOf(push: string | Uint8Array): string {
	if (push.length > maxPush) {
		throw notOurs(`${push.length} bytes, at most ${maxPush}`);
	}
	const body = find(typeof push === 'string' ? push : new TextDecoder().decode(push), 0);
	if (body === undefined) {
		throw notOurs('it has no version, the member v');
	}
	return JSON.stringify(body);
}

function find(value: unknown, depth: number): Record<string, unknown> | undefined {
	let object = value;
	for (let strings = 0; typeof object === 'string' && strings < 2; strings++) {
		try {
			object = JSON.parse(object);
		} catch {
			break;
		}
	}
	if (typeof object !== 'object' || object === null || Array.isArray(object)) {
		if (depth === 0) {
			throw notOurs('it is no JSON object');
		}
		return undefined;
	}
	const all = object as Record<string, unknown>;
	if (Object.hasOwn(all, 'v')) {
		return Object.fromEntries(members.filter((m) => Object.hasOwn(all, m)).map((m) => [m, all[m]]));
	}
	if (depth < maxWrapped) {
		for (const name of wrappers) {
			const body = Object.hasOwn(all, name) ? find(all[name], depth + 1) : undefined;
			if (body) {
				return body;
			}
		}
	}
	return undefined;
}
