// Package pushwire is the push protocol, version 2, in bytes: what a device
// and a mailserver say to each other so that the device is woken for its
// envelopes. It does no I/O and keeps no state; both ends use it.
//
// # Flow
//
//	device                                         mailserver
//	  | --- Register ------------------- packet 126 --> |  routes, seal key, channels
//	  | <-- RegisterReply (unconfirmed) - packet 127 --- |
//	  | <-- Challenge --------------- push service --- |  Payload: a code, proves the address
//	  | --- Confirm {proof} ------------ packet 126 --> |
//	  | <-- RegisterReply (confirmed) --- packet 127 --- |
//	  :                                                 :  an envelope is archived
//	  | <-- Messages ---------------- push service --- |  Payload: sealed hashes
//	  | --- Fetch {hashes} ------------- packet 126 --> |
//	  | <-- the envelopes, FetchReply --- packet 127 --- |
//
// A request is a Whisper message on Topic, encrypted to the server's push key
// and signed by the device's registration key (SealRequest, OpenRequest). Its
// payload is an RLP list (EncodeRequest, DecodeRequest). A reply goes the other
// way, encrypted to the registration key and signed by the push key. Both are
// padded to one of a few sizes (SizeClasses), so that a registration, a status
// and a fetch of mail look the same on the link.
//
// What travels through the push service is a Payload, sealed to the device's
// seal key and always BodySize bytes long (SealPayload, OpenPayload).
//
// # Growth
//
// Every list may get new elements at its end. A decoder reads what it knows
// and ignores the rest, and an element that an older sender left out reads as
// its zero value. A request of an unknown kind is ErrUnsupported, and one of
// another version ErrVersion; both still yield the request's ID, so that the
// refusal can name it. docs/protocol.md describes the same for other
// languages, with the vectors of testdata.
package pushwire
