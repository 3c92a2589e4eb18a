// A message to a public key: received with its private key, on any topic, with the receiver named.

--> {"jsonrpc":"2.0","id":1,"method":"shh_newKeyPair","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":"$bob"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_getPublicKey","params":["$bob"]}
<-- {"jsonrpc":"2.0","id":2,"result":"$bobPublic"}
--> {"jsonrpc":"2.0","id":3,"method":"shh_newMessageFilter","params":[{"privateKeyID":"$bob"}]}
<-- {"jsonrpc":"2.0","id":3,"result":"$filter"}
--> {"jsonrpc":"2.0","id":4,"method":"shh_post","params":[{"pubKey":"$bobPublic","ttl":20,"topic":"0xdeadbeef","payload":"0x68656c6c6f","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":4,"result":"$hash"}
--> {"jsonrpc":"2.0","id":5,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":5,"result":[{"ttl":20,"timestamp":946684800,"topic":"0xdeadbeef","payload":"0x68656c6c6f","padding":"$_","pow":"$_","hash":"$hash","recipientPublicKey":"$bobPublic"}]}
