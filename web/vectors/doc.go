// Package vectors holds the golden vectors that the Go code and the TypeScript
// package in web/client share. It has no code of its own, only tests.
//
// testdata/go is written by the Go code and opened by both; testdata/typescript is
// written by the TypeScript package and opened by both. So each side opens what the
// other one wrote, and a change of one that the other does not understand fails a
// test of both.
//
//	go test ./web/vectors -update              writes testdata/go again
//	npm --prefix web/client run vectors        writes testdata/typescript again
//
// Byte strings are in hexadecimal with 0x. Integers of 64 bits are strings of
// decimal digits, because JSON numbers hold 53 bits in JavaScript. Names are those
// of the TypeScript package: the Go name with a lowercase first letter.
package vectors
