// Bob lets Alice ring him for messages on topics that the mailserver does not know of. Both are devices of this node; what
// Bob gives to Alice goes from one to the other in private.

--> {"jsonrpc":"2.0","id":1,"method":"push_newDevice","params":[{"name":"bob"}]}
<-- {"jsonrpc":"2.0","id":1,"result":true}
--> {"jsonrpc":"2.0","id":2,"method":"push_addChannels","params":["bob",[{"name":"secret","topic":"0x0a0b0c0d","password":"whispered","unlisted":true}]]}
<-- {"jsonrpc":"2.0","id":2,"result":[{"id":"$secret","name":"secret","topic":"0x0a0b0c0d","mode":"every","mutedUntil":0,"unlisted":true}]}
--> {"jsonrpc":"2.0","id":3,"method":"push_register","params":["bob",{"routes":[{"provider":"direct","direct":true}],"rings":true}]}
<-- {"jsonrpc":"2.0","id":3,"result":{"active":true,"state":"active","reason":""}}
--> {"jsonrpc":"2.0","id":4,"method":"push_newCapability","params":["bob","alice"]}
<-- {"jsonrpc":"2.0","id":4,"result":"$capability"}
--> {"jsonrpc":"2.0","id":5,"method":"push_subscribe","params":["previews","bob"]}
<-- {"jsonrpc":"2.0","id":5,"result":"$previews"}

--> {"jsonrpc":"2.0","id":6,"method":"push_newDevice","params":[{"name":"alice"}]}
<-- {"jsonrpc":"2.0","id":6,"result":true}
--> {"jsonrpc":"2.0","id":7,"method":"shh_generateSymKeyFromPassword","params":["whispered"]}
<-- {"jsonrpc":"2.0","id":7,"result":"$key"}
--> {"jsonrpc":"2.0","id":8,"method":"shh_post","params":[{"symKeyID":"$key","ttl":60,"topic":"0x0a0b0c0d","payload":"0x70737374","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":8,"result":"$hash"}
--> {"jsonrpc":"2.0","id":9,"method":"push_notify","params":["alice","$capability","$hash","message"]}
<-- {"jsonrpc":"2.0","id":9,"result":true}
<-- {"jsonrpc":"2.0","method":"push_subscription","params":{"subscription":"$previews","result":{"kind":"messages","previews":[{"channel":"$secret","name":"secret","topic":"0x0a0b0c0d","text":"psst","payload":"0x70737374","sent":"$_","claimed":true,"hash":"$hash","message":"$_","link":"$_"}],"dismissed":[],"missing":[],"gap":false,"more":false}}}

// Alice is not told whether he was rung: with a capability that he never gave the answer is the same.
--> {"jsonrpc":"2.0","id":10,"method":"push_notify","params":["alice",{"handle":"0x00000000000000000000000000000000","holder":"alice","secret":"0x0000000000000000000000000000000000000000000000000000000000000000"},"$hash","mention"]}
<-- {"jsonrpc":"2.0","id":10,"result":true}
