/** The time, and waiting. An app leaves it out; tests give one of their own. */
export interface Clock {
	/** The time in Unix milliseconds. */
	now(): number;
	/** Waits so many milliseconds, or until the signal; it resolves either way. */
	sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** The clock and the timers of the platform. */
export const systemClock: Clock = {
	now: () => Date.now(),
	sleep: (milliseconds, signal) =>
		new Promise((resolve) => {
			if (signal.aborted) {
				resolve();
				return;
			}
			const done = () => {
				clearTimeout(timer);
				signal.removeEventListener('abort', done);
				resolve();
			};
			const timer = setTimeout(done, milliseconds);
			signal.addEventListener('abort', done);
		}),
};

/** Calls `task` with a signal that ends with any of some others, or with `reason` after a time. It is let go of when the task is done. */
export async function limited<T>(
	signals: readonly (AbortSignal | undefined)[],
	limit: { clock: Clock; milliseconds: number; reason: unknown } | undefined,
	task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
	const abort = new AbortController();
	const over = new AbortController();
	const listeners = signals.map((signal) => {
		const end = () => abort.abort(signal?.reason);
		if (signal?.aborted) {
			end();
		}
		signal?.addEventListener('abort', end);
		return () => signal?.removeEventListener('abort', end);
	});
	if (limit) {
		void limit.clock.sleep(limit.milliseconds, over.signal).then(() => {
			if (!over.signal.aborted) {
				abort.abort(limit.reason);
			}
		});
	}
	try {
		return await until(abort.signal, task(abort.signal));
	} finally {
		over.abort();
		listeners.forEach((remove) => remove());
	}
}

/** Settles as a promise does, or rejects with the signal's reason, whichever comes first. */
export function until<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
	return new Promise<T>((resolve, reject) => {
		const end = () => reject(signal.reason as Error);
		if (signal.aborted) {
			promise.catch(() => undefined);
			end();
			return;
		}
		signal.addEventListener('abort', end);
		promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', end));
	});
}
