// Package push is the JSON-RPC namespace push: devices that the node keeps for programs on this computer, which register
// with a mailserver, are woken, fetch and ring as an app does with package client.
//
// A program makes a device under a name that it chooses (push_newDevice), gives it channels, whose keys it has put into
// the namespace shh before, and registers it. The device's keys stay here, in the data directory, each file sealed under
// a key of the node. What arrives over the device's own connection goes to subscriptions; what arrives by a push service
// the program hands over itself (push_receive), as it has the address.
//
// api.go has the namespace and its devices, device.go one device, messages.go what it is asked for by name, feed.go
// the subscriptions, offers.go the mailservers that announce themselves, forms.go the JSON, and cabinet.go the files.
//
// Devices belong to every caller: whoever may call, may use and delete them. Their private keys are given to nobody.
package push
