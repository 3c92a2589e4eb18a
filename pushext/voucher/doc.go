// Package voucher lets a mailserver be paid for registrations without learning who paid.
// A voucher is a blind signature (RFC 9474, RSABSSA-SHA384-PSS-Deterministic):
//
//   - The app makes an Order and hands its Blinded request to the operator's shop,
//     together with the payment, in whatever way the shop is paid.
//   - The shop signs the request with the operator's Key. It sees nothing that it could
//     recognize later.
//   - The app finishes the order with the signature. That makes the voucher, which the
//     app gives to the mailserver in its next Register.
//   - The mailserver knows only the PublicKey. It accepts each voucher for one
//     registration, whose key is as fresh as ever, and cannot tell which order it came
//     from.
//
// Only the behaviour of the app can link the two: it should pay some time before it
// registers, and over another network path.
package voucher
