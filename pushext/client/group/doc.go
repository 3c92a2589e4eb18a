// Package group implements groups whose members are woken for a mention and for nothing
// else, by mailservers that cannot tell a mention from a message between two people. It sits
// between client.Device and package inbox: an inbox takes this package's Device instead of a
// client.Device.
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
// A group is a sequence of epochs. Every change of its members is a record. An admin makes
// the record and sends it to each member in a letter. The record begins an epoch with a
// secret of its own. The topic and key of the group's messages derive from the secret.
// Together with a member's key, the secret gives that member's ticket. The ticket gives the
// topic on which they are rung, and the key of what is sent there. So every member can ring
// every other, and nobody else can.
//
//	record ── secret ─┬─▶ topic and key of messages
//	   │              └─▶ ticket of each member ──▶ their topic, and its key
//	   └──── ticket of the receiver in the epoch after
//
// The admins know the secret of the next epoch, and the record gives each member their own
// ticket of it. So a member's device listens to two topics, of this epoch and of the next.
// The letter about a change arrives on the second, to which nobody but the admins could have
// sent it; and a member can be rung in the next epoch before they know of it. A device that
// has a record is no longer woken on earlier topics, so nothing that a removed member holds
// leads to a topic that wakes anybody. If an admin was removed, who knew the secret meant
// for the next epoch, the record uses another secret.
//
// # Rung
//
// A message goes to the group's topic, to which members who want only mentions do not
// listen, and once more to each member it mentions, on their topic. That second copy is the
// message itself, not a reference, so that a woken member does not have to request an
// envelope that others of the group request too. Both copies carry the same id under the
// author's signature, and are one message to the inbox.
//
// Two admins may make a record of one epoch at the same time. Then both count, and everybody
// whom one of them removed is removed. If somebody who was removed by either has the secret,
// the admins make another epoch at once. No admin can remove one who became an admin before
// them, so there is no conflict to settle.
//
// docs/groups.md compares this with a capability for each member: what each costs, and who
// learns what. docs/protocol.md has the bytes.
package group
