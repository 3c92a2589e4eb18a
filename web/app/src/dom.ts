// The page's elements, and what is made of them.

/** The element of a name, which the page has. */
export const element = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;

export const input = (id: string): HTMLInputElement => element<HTMLInputElement>(id);

/** Makes an element. Text is text, whatever it says. */
export function make(name: string, properties: Record<string, string>, ...children: (Node | string)[]): HTMLElement {
	const made = document.createElement(name);
	Object.entries(properties).forEach(([key, value]) => made.setAttribute(key, value));
	made.append(...children);
	return made;
}

/** Makes a button that does something. */
export function button(text: string, properties: Record<string, string>, act: () => void): HTMLElement {
	const made = make('button', { type: 'button', ...properties }, text);
	made.addEventListener('click', act);
	return made;
}

export const status = (text: string): void => void (element('status').textContent = text);

/** What went wrong, in words. */
export const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Does something that the person asked for, and tells what went wrong. Says whether it went well. */
export async function attempt(what: string, task: () => Promise<void>): Promise<boolean> {
	const under = what + ' …';
	try {
		status(under);
		await task();
		if (element('status').textContent === under) {
			status(''); // else it says what else the person asked for, and what came of it
		}
		return true;
	} catch (error) {
		console.warn(what, error);
		status(`${what}: ${words(error)}`);
		return false;
	}
}

export const dialog = (id: string): HTMLDialogElement => element<HTMLDialogElement>(id);

/** Gives the person a file. */
export function save(name: string, content: BlobPart, type: string): void {
	const url = URL.createObjectURL(new Blob([content], { type }));
	make('a', { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Has a form do something in place of being sent. */
export function onSubmit(id: string, act: () => void): void {
	element(id).addEventListener('submit', (event) => {
		event.preventDefault();
		act();
	});
}

/**
 * Has the buttons of all dialogs do what they say. An open dialog covers the rest of the page, and
 * hides it from screen readers, so the line that says what goes wrong is in the dialog meanwhile.
 */
export function setUpDialogs(): void {
	const place = new MutationObserver(() => {
		const open = [...document.querySelectorAll('dialog:modal')].at(-1) ?? document.body;
		if (element('status').parentElement !== open) {
			open.append(element('status'));
		}
	});
	for (const each of document.querySelectorAll('dialog')) {
		place.observe(each, { attributeFilter: ['open'] });
		each.querySelector('.close')?.addEventListener('click', () => each.close());
		each.addEventListener('close', () => {
			// The browser gives back the focus, and Chromium then takes no keys for a text field.
			const focused = document.activeElement as HTMLElement | null;
			focused?.blur();
			focused?.focus();
		});
	}
	for (const each of document.querySelectorAll<HTMLElement>('.copy')) {
		each.addEventListener('click', () => {
			const from = input(each.dataset['copy']!);
			from.select();
			void navigator.clipboard.writeText(from.value).then(() => status('Copied'), () => status('The browser does not copy by itself; the text is selected'));
			setTimeout(() => element('status').textContent === 'Copied' && status(''), 2000);
		});
	}
}
