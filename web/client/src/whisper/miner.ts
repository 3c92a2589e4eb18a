import { ProtocolError } from '../errors.js';
import { mine, type Work } from './pow.js';

/** Finds a nonce for some work, see {@link mine}. */
export type Miner = (work: Work, target: number, signal?: AbortSignal) => Promise<bigint>;

/** Mines on the thread that asks, a few milliseconds at a time. */
export const mineHere: Miner = (work, target, signal) => mine(work, target, { signal });

/** What a Worker, a MessagePort and the scope of a dedicated worker have in common. */
export interface Port {
	postMessage(message: unknown): void;
	addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
}

// A question and its end, from the page; an answer, from the worker.
type Question = { readonly id: number; readonly work: Work; readonly target: number };
type Cancel = { readonly cancel: number };
type Answer = { readonly id: number; readonly nonce: bigint } | { readonly id: number; readonly error: string };

/**
 * Returns a miner that has a worker do the work. The worker runs this package's entry
 * `whisperpush-client/mine-worker`, or calls {@link serveMiner} itself:
 *
 *     const worker = new Worker(new URL('whisperpush-client/mine-worker', import.meta.url), { type: 'module' });
 *     const miner = workerMiner(worker);
 *
 * A worker that dies answers nobody: have its `error` event abort what is under way.
 */
export function workerMiner(port: Port): Miner {
	const waiting = new Map<number, (answer: Answer) => void>();
	let last = 0;
	port.addEventListener('message', ({ data }: MessageEvent<Answer>) => waiting.get(data.id)?.(data));
	return (work, target, signal) =>
		new Promise<bigint>((resolve, reject) => {
			const id = ++last;
			const cancel = () => port.postMessage({ cancel: id } satisfies Cancel);
			waiting.set(id, (answer) => {
				waiting.delete(id);
				signal?.removeEventListener('abort', cancel);
				if ('nonce' in answer) {
					resolve(answer.nonce);
				} else {
					reject(new ProtocolError('work', answer.error, { cause: signal?.reason }));
				}
			});
			port.postMessage({ id, work: { fields: work.fields, ttl: work.ttl }, target } satisfies Question);
			signal?.addEventListener('abort', cancel, { once: true });
			if (signal?.aborted) {
				cancel();
			}
		});
}

/** How long a worker mines before it looks for messages, in milliseconds. */
const workerSlice = 50;

/** Has a worker answer {@link workerMiner}; `port` is the worker's own scope, usually `self`. */
export function serveMiner(port: Port): void {
	const running = new Map<number, AbortController>();
	port.addEventListener('message', ({ data }: MessageEvent<Question | Cancel>) => {
		if ('cancel' in data) {
			running.get(data.cancel)?.abort();
			return;
		}
		const { id, work, target } = data;
		const abort = new AbortController();
		running.set(id, abort);
		mine(work, target, { signal: abort.signal, slice: workerSlice })
			.then(
				(nonce): Answer => ({ id, nonce }),
				(error: unknown): Answer => ({ id, error: error instanceof Error ? error.message : String(error) }),
			)
			.then((answer) => {
				running.delete(id);
				port.postMessage(answer);
			});
	});
}
