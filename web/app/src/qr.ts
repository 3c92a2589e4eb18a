// Links as pictures: drawn, and read where the browser can.
import qrcode from 'qrcode-generator';

/** The empty edge around a picture that readers need, in modules. */
const edge = 4;
const svg = 'http://www.w3.org/2000/svg';

/** Draws a link. It is dark on light in every theme, as readers want it. */
export function drawQr(link: string, label: string): SVGElement {
	const code = qrcode(0, 'M');
	code.addData(link, 'Byte');
	code.make();
	const size = code.getModuleCount();
	let path = '';
	for (let y = 0; y < size; y++) {
		for (let x = 0; x < size; x++) {
			if (code.isDark(y, x)) {
				path += `M${x + edge} ${y + edge}h1v1h-1z`;
			}
		}
	}
	const picture = document.createElementNS(svg, 'svg');
	const whole = size + 2 * edge;
	for (const [name, value] of [['viewBox', `0 0 ${whole} ${whole}`], ['role', 'img'], ['aria-label', label], ['class', 'qr'], ['shape-rendering', 'crispEdges']] as const) {
		picture.setAttribute(name, value);
	}
	for (const [name, form] of [['light', `M0 0h${whole}v${whole}H0z`], ['dark', path]] as const) {
		const part = document.createElementNS(svg, 'path');
		part.setAttribute('d', form);
		part.setAttribute('class', name);
		picture.append(part);
	}
	return picture;
}

interface Detector {
	detect(source: ImageBitmapSource): Promise<{ readonly rawValue: string }[]>;
}
declare global {
	interface Window {
		BarcodeDetector?: new (options: { formats: string[] }) => Detector;
	}
}

/** Whether this browser reads such pictures. */
export const readsQr = (): boolean => window.BarcodeDetector !== undefined;

const detector = (): Detector => new window.BarcodeDetector!({ formats: ['qr_code'] });

/** Reads the link in a picture. Throws if there is none. */
export async function readPicture(picture: Blob): Promise<string> {
	const bitmap = await createImageBitmap(picture);
	try {
		const [found] = await detector().detect(bitmap);
		if (!found) {
			throw new Error('no code is to be seen in this picture');
		}
		return found.rawValue;
	} finally {
		bitmap.close();
	}
}

/** How often the camera is looked through, in milliseconds. */
const look = 250;

/** Looks through the camera until there is a link to be seen; undefined: the signal ended it. */
export async function readCamera(video: HTMLVideoElement, signal: AbortSignal): Promise<string | undefined> {
	const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
	try {
		video.srcObject = stream;
		await video.play();
		for (const reader = detector(); !signal.aborted; await new Promise((resolve) => setTimeout(resolve, look))) {
			const [found] = await reader.detect(video);
			if (found) {
				return found.rawValue;
			}
		}
		return undefined;
	} finally {
		stream.getTracks().forEach((track) => track.stop());
		video.srcObject = null;
	}
}
