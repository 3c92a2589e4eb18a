import { isProtocolError } from '../errors.js';
import { decodeEnvelopes, Envelope } from '../whisper/envelope.js';

/** The longest frame in bytes: the largest message that a Whisper node passes on, and the RLP around it. */
export const maxFrame = 10 * 1024 * 1024 + 1024;

/** The most bytes of one answer, all frames together. A mailserver sends 4 MiB, or one envelope that is larger. */
export const maxAnswer = 16 * 1024 * 1024;

/** A part of an answer, as the server sent it. Nothing of it is to be trusted. */
export interface Frame {
	/**
	 * `envelope`: the RLP of one envelope, or of a list of envelopes (the content of a packet
	 * 127); `complete`: the end mark of an answer to a request for mail (the content of the
	 * string in a packet 125); `alive`: nothing, but that the stream stands.
	 */
	readonly kind: 'envelope' | 'complete' | 'alive';
	readonly bytes: Uint8Array;
}

/** What goes with a request. */
export interface ExchangeOptions {
	/**
	 * The hashes of the envelopes that the answer is to bring, if the request names them. A
	 * transport that shares one link among exchanges hands these envelopes to this one; one
	 * with a stream for each exchange need not look.
	 */
	readonly wanted: readonly Uint8Array[];
	/** Ends the exchange. */
	readonly signal: AbortSignal;
}

/** How a device reaches its mailserver. */
export interface Transport {
	/**
	 * Sends a request, which is for the mailserver alone (the content of a packet 126), and
	 * hands over each frame of the answer as it comes, until the server has no more to say or
	 * whoever iterates has heard enough. It refuses frames longer than {@link maxFrame} before
	 * it makes room for them. It rejects, with any error, when the server cannot be reached or
	 * the answer breaks off; the device asks again.
	 */
	exchange(request: Envelope, options: ExchangeOptions): AsyncIterable<Frame>;

	/**
	 * Sends a request as {@link exchange} does, and hands over the answer and then what the
	 * server rings the device with, until either side ends it. The server says something at
	 * least every 25 s. A transport that has no such stream leaves it out.
	 */
	ring?(request: Envelope, signal: AbortSignal): AsyncIterable<Frame>;

	/** Puts an envelope on the network for everybody. It resolves when the server has taken it. */
	post(envelope: Envelope, signal: AbortSignal): Promise<void>;
}

/** Returns the envelopes in a frame; none if there is something else in it. */
export function envelopesOf(frame: Frame): Envelope[] {
	if (frame.kind !== 'envelope' || frame.bytes.length > maxFrame) {
		return [];
	}
	for (const read of [(b: Uint8Array) => [Envelope.decode(b)], (b: Uint8Array) => decodeEnvelopes(b).envelopes]) {
		try {
			return read(frame.bytes);
		} catch (error) {
			if (!isProtocolError(error)) {
				throw error;
			}
		}
	}
	return [];
}
