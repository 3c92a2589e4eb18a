import fc from 'fast-check';

/** How many inputs each property is tried with; FUZZ_RUNS sets another number. */
export const runs = { numRuns: Number(process.env['FUZZ_RUNS'] ?? 1000) };

/** Some bytes of a stranger who knows what good ones look like: good ones with a few changes. */
export function spoiled(...good: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
	const change = fc.record({
		how: fc.constantFrom('set', 'insert', 'remove', 'cut', 'repeat'),
		at: fc.nat(),
		byte: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0x81, 0xb7, 0xb8, 0xbf, 0xc0, 0xc1, 0xf7, 0xf8, 0xff), fc.nat(255)),
		length: fc.nat(80),
	});
	const changed = fc
		.tuple(fc.constantFrom(...good), fc.array(change, { minLength: 1, maxLength: 4 }))
		.map(([bytes, changes]) => {
			const b = [...bytes];
			for (const { how, at, byte, length } of changes) {
				const i = at % (b.length + 1);
				if (how === 'set' && i < b.length) {
					b[i] = byte;
				} else if (how === 'insert') {
					b.splice(i, 0, byte);
				} else if (how === 'remove') {
					b.splice(i, 1);
				} else if (how === 'cut') {
					b.length = i;
				} else if (how === 'repeat') {
					b.splice(i, 0, ...b.slice(i, i + length));
				}
			}
			return Uint8Array.from(b);
		});
	return fc.oneof({ weight: 4, arbitrary: changed }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) });
}
