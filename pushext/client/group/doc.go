// Package group is groups whose members are woken for a mention and for nothing else,
// by mailservers that cannot tell a mention from a message between two people. It stands on
// client.Device and below package inbox, which takes a Device of this package for the other.
//
//	book, err := group.OpenBook(ctx, client.FileStore("groups.json"), me)
//	rung, err := client.Open(ctx, client.Config{…, Chats: append(chats, book.Chats()...), Complete: true})
//	reader, err := client.Open(ctx, client.Config{…, Chats: book.Reading(), Complete: true})
//	device, err := group.Attach(group.Config{Book: book, Rung: rung, Reader: reader, Mentioned: …})
//	messages, err := inbox.Open(ctx, inbox.Config{…, Device: device})
//
//	id, err := book.Found(ctx, "choir")                        // or book.Join, of an invitation
//	invitations, err := device.Change(ctx, id, group.Change{Add: …})
//
// # Epochs
//
// A group is a row of epochs. Every change of its members is a record, which an admin
// makes and sends to each member by a letter, and begins an epoch with a secret of its own.
// From that come the topic and key of the group's messages and, with a member's key, the
// member's ticket; and from the ticket the topic on which they are rung, and the key of what
// is sent there. So every member can ring every other, and nobody else can.
//
//	record ── secret ─┬─▶ topic and key of messages
//	   │              └─▶ ticket of each member ──▶ their topic, and its key
//	   └──── ticket of the receiver in the epoch after
//
// The secret of the epoch after is known to the admins, and each member has their own
// ticket of it from the record: so a member's device listens to two topics, of this epoch
// and the next. The letter about a change comes on the second, where nobody but the admins
// could have sent it; and who changes the epoch can be rung in it before they know of it.
// A device that has a record listens to the topics of before no more, and whatever who was
// removed holds leads to no topic that anybody listens to. If an admin was removed, who
// knew the secret that was meant for the next epoch, another is taken.
//
// # Rung
//
// A message goes to the group's topic, where nobody who is content with mentions
// listens, and once more to each member it mentions, on theirs: the message itself, not a
// reference, so that nobody who is woken has to ask for an envelope that others of the group
// ask for too. Both tell the same id under the author's signature and are one message to the
// inbox.
//
// Two admins may make a record of one epoch at the same time. Then both count, and
// whoever one of them removed is removed; if one who was removed by either has the secret, the
// admins make another epoch at once. No admin can remove one who became an admin before
// them, so there is no quarrel to decide.
//
// docs/groups.md compares this with a capability for each member, by what it costs and
// who learns what; docs/protocol.md has the bytes.
package group
