/** For how long, in milliseconds, and how often a server does not answer that is dead. */
const deadAfter = 3 * 60_000;
const deadAsks = 3;

/**
 * What a {@link Watch} says of a server: it is fine; it did not answer lately; it does not
 * answer any more; it has signed that it did not ring for what it owes.
 */
export type Verdict = 'fine' | 'unsure' | 'dead' | 'withholds';

/** Judges one server by what was observed. All times are milliseconds of a clock that the app chooses. */
export class Watch {
	#silent = 0;
	#since = 0;
	#proved = false;

	/** Notes that there is evidence against the server: that is for good. */
	proved(): void {
		this.#proved = true;
	}

	/** Notes an answer. */
	answered(): void {
		this.#silent = 0;
	}

	/** Notes that no answer came although the network is there. */
	silent(now: number): void {
		if (this.#silent === 0) {
			this.#since = now;
		}
		this.#silent++;
	}

	verdict(now: number): Verdict {
		if (this.#silent >= deadAsks && now - this.#since >= deadAfter) {
			return 'dead';
		}
		return this.#proved ? 'withholds' : this.#silent > 0 ? 'unsure' : 'fine';
	}
}
