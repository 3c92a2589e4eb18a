// A device that is woken by a push service. The program has the token, $token, and is what the push service calls: <== is
// what it delivers. The mailserver is named; $server and $pushKey are what it prints when it starts.

--> {"jsonrpc":"2.0","id":1,"method":"push_newDevice","params":[{"name":"phone","server":"$server","pushKey":"$pushKey"}]}
<-- {"jsonrpc":"2.0","id":1,"result":true}
--> {"jsonrpc":"2.0","id":2,"method":"shh_newKeyPair","params":[]}
<-- {"jsonrpc":"2.0","id":2,"result":"$me"}
--> {"jsonrpc":"2.0","id":3,"method":"shh_getPublicKey","params":["$me"]}
<-- {"jsonrpc":"2.0","id":3,"result":"$mine"}
--> {"jsonrpc":"2.0","id":4,"method":"push_addChannels","params":["phone",[{"name":"letters","topic":"0x01020304","privateKeyID":"$me"}]]}
<-- {"jsonrpc":"2.0","id":4,"result":[{"id":"$letters","name":"letters","topic":"0x01020304","mode":"every","mutedUntil":0,"unlisted":false}]}
--> {"jsonrpc":"2.0","id":5,"method":"push_subscribe","params":["state","phone"]}
<-- {"jsonrpc":"2.0","id":5,"result":"$states"}
<-- {"jsonrpc":"2.0","method":"push_subscription","params":{"subscription":"$states","result":{"active":false,"state":"none","reason":""}}}

// The mailserver challenges the address: whoever registers it has to have it.
--> {"jsonrpc":"2.0","id":6,"method":"push_register","params":["phone",{"routes":[{"provider":"fcm","address":"$token"}],"lifetime":86400}]}
<-- {"jsonrpc":"2.0","id":6,"result":{"active":false,"state":"waiting","reason":""}}
<-- {"jsonrpc":"2.0","method":"push_subscription","params":{"subscription":"$states","result":{"active":false,"state":"waiting","reason":""}}}
<== "$challenge"
--> {"jsonrpc":"2.0","id":7,"method":"push_receive","params":["phone","$challenge"]}
<-- {"jsonrpc":"2.0","id":7,"result":{"kind":"challenge","previews":[],"dismissed":[],"missing":[],"gap":false,"more":false}}
<-- {"jsonrpc":"2.0","method":"push_subscription","params":{"subscription":"$states","result":{"active":true,"state":"active","reason":""}}}

// Then it is woken, and fetches what the push names.
--> {"jsonrpc":"2.0","id":8,"method":"shh_newKeyPair","params":[]}
<-- {"jsonrpc":"2.0","id":8,"result":"$alice"}
--> {"jsonrpc":"2.0","id":9,"method":"shh_getPublicKey","params":["$alice"]}
<-- {"jsonrpc":"2.0","id":9,"result":"$alices"}
--> {"jsonrpc":"2.0","id":10,"method":"shh_post","params":[{"pubKey":"$mine","sig":"$alice","ttl":60,"topic":"0x01020304","payload":"0x68656c6c6f","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":10,"result":"$hash"}
<== "$push"
--> {"jsonrpc":"2.0","id":11,"method":"push_receive","params":["phone","$push"]}
<-- {"jsonrpc":"2.0","id":11,"result":{"kind":"messages","previews":[{"channel":"$letters","name":"letters","topic":"0x01020304","sender":"$alices","text":"hello","payload":"0x68656c6c6f","sent":"$_","claimed":true,"hash":"$hash","message":"$message","link":"$link"}],"dismissed":[],"missing":[],"gap":false,"more":false}}
--> {"jsonrpc":"2.0","id":12,"method":"push_fetch","params":["phone",["$hash"]]}
<-- {"jsonrpc":"2.0","id":12,"result":{"kind":"messages","previews":[{"channel":"$letters","name":"letters","topic":"0x01020304","sender":"$alices","text":"hello","payload":"0x68656c6c6f","sent":"$_","claimed":true,"hash":"$hash","message":"$message","link":"$link"}],"dismissed":[],"missing":[],"gap":false,"more":false}}
--> {"jsonrpc":"2.0","id":13,"method":"push_shown","params":["phone",["$hash"]]}
<-- {"jsonrpc":"2.0","id":13,"result":true}

// A push that is only a test of the way.
--> {"jsonrpc":"2.0","id":14,"method":"push_testPush","params":["phone"]}
<-- {"jsonrpc":"2.0","id":14,"result":{"active":true,"state":"active","reason":"","expires":"$_","seq":1,"channels":1,"lines":"$_"}}
<== "$canary"
--> {"jsonrpc":"2.0","id":15,"method":"push_receive","params":["phone","$canary"]}
<-- {"jsonrpc":"2.0","id":15,"result":{"kind":"canary","previews":[],"dismissed":[],"missing":[],"gap":false,"more":false}}

// A device that is deleted is unregistered.
--> {"jsonrpc":"2.0","id":16,"method":"push_deleteDevice","params":["phone"]}
<-- {"jsonrpc":"2.0","id":16,"result":true}
<-- {"jsonrpc":"2.0","method":"push_subscription","params":{"subscription":"$states","result":{"active":false,"state":"terminated","reason":""}}}
--> {"jsonrpc":"2.0","id":17,"method":"push_status","params":["phone"]}
<-- {"jsonrpc":"2.0","id":17,"error":{"code":-32000,"message":"there is no device of this name; push_newDevice makes one"}}
