// A message with a symmetric key: signed, posted, polled. Empty strings and 0x are what geth's client sends for
// what it does not give.

--> {"jsonrpc":"2.0","id":1,"method":"shh_newSymKey","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":"$key"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_newKeyPair","params":[]}
<-- {"jsonrpc":"2.0","id":2,"result":"$alice"}
--> {"jsonrpc":"2.0","id":3,"method":"shh_getPublicKey","params":["$alice"]}
<-- {"jsonrpc":"2.0","id":3,"result":"$alicePublic"}
--> {"jsonrpc":"2.0","id":4,"method":"shh_newMessageFilter","params":[{"symKeyID":"$key","privateKeyID":"","sig":"$alicePublic","minPow":0.2,"topics":["0x5a4ea131"],"allowP2P":true}]}
<-- {"jsonrpc":"2.0","id":4,"result":"$filter"}
--> {"jsonrpc":"2.0","id":5,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":5,"result":[]}
--> {"jsonrpc":"2.0","id":6,"method":"shh_post","params":[{"symKeyID":"$key","pubKey":"0x","sig":"$alice","ttl":10,"topic":"0x5a4ea131","payload":"0x48656c6c6f","padding":"0x0102","powTime":5,"powTarget":0.3,"targetPeer":""}]}
<-- {"jsonrpc":"2.0","id":6,"result":"$hash"}
--> {"jsonrpc":"2.0","id":7,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":7,"result":[{"sig":"$alicePublic","ttl":10,"timestamp":946684800,"topic":"0x5a4ea131","payload":"0x48656c6c6f","padding":"0x0102","pow":"$_","hash":"$hash"}]}

// Each message is told once.
--> {"jsonrpc":"2.0","id":8,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":8,"result":[]}

// A message that somebody else signed, or nobody, is not for this filter.
--> {"jsonrpc":"2.0","id":9,"method":"shh_post","params":[{"symKeyID":"$key","ttl":10,"topic":"0x5a4ea131","payload":"0x00","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":9,"result":"$_"}
--> {"jsonrpc":"2.0","id":10,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":10,"result":[]}
--> {"jsonrpc":"2.0","id":11,"method":"shh_deleteMessageFilter","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":11,"result":true}
--> {"jsonrpc":"2.0","id":12,"method":"shh_deleteMessageFilter","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":12,"error":{"code":-32000,"message":"filter not found"}}
--> {"jsonrpc":"2.0","id":13,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":13,"error":{"code":-32000,"message":"filter not found"}}
