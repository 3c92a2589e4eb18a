// Package voucher lets a mailserver be paid for registrations without learning who paid.
// A voucher is a blind signature (RFC 9474, RSABSSA-SHA384-PSS-Deterministic):
//
//   - The app makes an Order and hands its Blinded request to the operator's shop,
//     together with the payment, however people pay there.
//   - The shop signs it with the operator's Key. It learns nothing that it would know
//     again.
//   - The app finishes the order with the signature, which makes the voucher, and gives
//     that to the mailserver in its next Register.
//   - The mailserver knows the PublicKey alone. It takes each voucher for one
//     registration, whose key is as fresh as ever, and cannot tell which order it came
//     from.
//
// What links the two is what the app does: it should pay some time before it registers,
// and by another way through the network.
package voucher
