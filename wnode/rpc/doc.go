// Package rpc serves JSON-RPC as geth does: the listeners, and a file for each namespace.
//
// APIs says which namespaces there are. ListenSocket serves all of them on a Unix socket for this user, and Listen
// those that the settings name over HTTP and WebSocket, to the hosts and origins that they name. ListenHTTP is for
// whatever else is served over HTTP. What cannot be listened on is said in one sentence that names the flag to give;
// CheckListeners says so before anything is opened.
//
// The namespace shh, of which most calls are, is package shh.
package rpc
