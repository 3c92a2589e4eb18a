/** A set of marks that forgets the oldest beyond a limit. */
export class Marks {
	readonly #limit: number;
	readonly #set = new Set<string>(); // which keeps the order in which they came

	constructor(limit: number) {
		this.#limit = limit;
	}

	get list(): string[] {
		return [...this.#set];
	}

	has(mark: string): boolean {
		return this.#set.has(mark);
	}

	/** Adds a mark, and returns those that are forgotten for it. */
	add(mark: string): string[] {
		const forgotten: string[] = [];
		this.#set.add(mark);
		for (const oldest of this.#set) {
			if (this.#set.size <= this.#limit) {
				break;
			}
			this.#set.delete(oldest);
			forgotten.push(oldest);
		}
		return forgotten;
	}

	drop(mark: string): void {
		this.#set.delete(mark);
	}
}
