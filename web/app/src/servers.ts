// The server in use, and others that it can be compared with and left for.
import { type Candidate, encodeEvidence, hexOf } from './client.js';
import { attempt, button, element, input, make, onSubmit, save, status, words } from './dom.js';
import { type Home } from './home.js';
import { describe, originOf } from './server.js';
import { subscribe } from './subscriptions.js';

/** What the servers need of the page. */
export interface Surroundings {
	readonly home: Home;
	/** Told that a move has begun or was given up. */
	moving(): Promise<void>;
	/** Opens the app anew, here and in other windows. */
	restored(): void;
}

let around: Surroundings;

export function setUpServers(of: Surroundings): void {
	around = of;
	onSubmit('add-server', () => void attempt('Asking the server', async () => {
		await around.home.add(originOf(input('server-address').value));
		input('server-address').value = '';
		await drawList();
	}));
	element('save-evidence').addEventListener('click', () => void attempt('Saving the proof', async () => {
		const evidence = await around.home.evidence();
		if (evidence) {
			save('evidence.json', encodeEvidence(evidence), 'application/json');
		}
	}));
	element('measure-servers').addEventListener('click', () => void attempt('Asking the servers', async () => {
		for (const { origin } of await around.home.candidates()) {
			await around.home.measure(origin).catch((error: unknown) => console.warn('the server at', origin, error));
		}
		await drawList();
	}));
}

const rows = (list: readonly (readonly [string, string])[]): HTMLElement[] => list.flatMap(([term, value]) => [make('dt', {}, term), make('dd', {}, value)]);

/** Shows what the server in use offers now, and the others. */
export async function drawServers(): Promise<void> {
	const { home } = around;
	const use = element<HTMLButtonElement>('use-server');
	use.hidden = true;
	element('server').replaceChildren();
	await drawList();
	element('save-evidence').hidden = (await home.evidence()) === undefined;
	try {
		const met = await home.meet();
		element('server').replaceChildren(...rows(describe(met, home.origin)));
		if (!met.same) {
			element('server-hint').textContent = 'Another server answers at this address than the one that has your account. Ask whoever runs it whether that is right. If you use it, it gets an account of its own; your chats and messages stay.';
			use.hidden = false;
			use.onclick = () => void attempt('Changing the server', async () => {
				await home.replace(met.server);
				around.restored();
			});
		}
	} catch (error) {
		element('server').replaceChildren(...rows([['Address', home.origin], ['Now', `it cannot be reached: ${words(error)}`]]));
	}
}

async function drawList(): Promise<void> {
	const all = await around.home.candidates();
	element('measure-servers').hidden = all.length === 0;
	element('servers').replaceChildren(...all.map(rowOf));
}

/** A server that was added: what compares it with others, and what there is to do with it. */
function rowOf(c: Candidate): HTMLElement {
	const { home } = around;
	const { host } = new URL(c.origin);
	const [used, next] = [home.isUsed(c), c.origin === home.movesTo];
	const state = used ? 'in use' : next ? 'moving there' : '';
	const answers = c.asked === 0 ? 'not asked yet' : `${c.answered} of ${c.asked} times`;
	const details = make('dl', {}, ...rows([...describe({ server: c, offer: c.offer, roundTrip: c.roundTrip }, c.origin), ['Answered', answers]]));
	const title = make('p', {}, make('strong', {}, host), ...(state ? [make('span', { class: 'tag' }, ` ${state}`)] : []));
	const acts = make('div', { class: 'row' });
	if (!used && !next) {
		acts.append(button('Move there', { class: 'chief', 'aria-label': `Move to ${host}` }, () => void attempt('Moving', () => move(c))));
		acts.append(button('Remove', { 'aria-label': `Remove ${host} from the list` }, () => void attempt('Removing', async () => {
			await home.forget(c.pushKey);
			await drawList();
		})));
	} else if (used && home.movesTo !== undefined) {
		acts.append(button('Stay here', { 'aria-label': `Stay at ${host}` }, () => void attempt('Staying', () => move(c))));
	}
	return make('li', { 'data-key': hexOf(c.pushKey), class: 'server' }, title, details, acts);
}

async function move(to: Candidate): Promise<void> {
	try {
		await around.home.move(to, subscribe);
		status('');
		void around.moving();
	} finally {
		await drawServers();
	}
}
