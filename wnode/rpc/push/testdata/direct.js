// A device that is woken over its own connection: no push service, no address. Its mailserver is the node that it calls.

--> {"jsonrpc":"2.0","id":1,"method":"shh_generateSymKeyFromPassword","params":["kitchen"]}
<-- {"jsonrpc":"2.0","id":1,"result":"$key"}
--> {"jsonrpc":"2.0","id":2,"method":"push_newDevice","params":[{"name":"desktop"}]}
<-- {"jsonrpc":"2.0","id":2,"result":true}
--> {"jsonrpc":"2.0","id":3,"method":"push_addChannels","params":["desktop",[{"name":"family","topic":"0x5a4ea131","symKeyID":"$key"},{"name":"work","topic":"0x5a4ea132","password":"desk","mode":"mentions"}]]}
<-- {"jsonrpc":"2.0","id":3,"result":[{"id":"$family","name":"family","topic":"0x5a4ea131","mode":"every","mutedUntil":0,"unlisted":false},{"id":"$work","name":"work","topic":"0x5a4ea132","mode":"mentions","mutedUntil":0,"unlisted":false}]}
--> {"jsonrpc":"2.0","id":4,"method":"push_register","params":["desktop",{"routes":[{"provider":"direct","direct":true}]}]}
<-- {"jsonrpc":"2.0","id":4,"result":{"active":true,"state":"active","reason":""}}

// Each message arrives by itself, until it is said to be shown or seen.
--> {"jsonrpc":"2.0","id":5,"method":"push_subscribe","params":["previews","desktop"]}
<-- {"jsonrpc":"2.0","id":5,"result":"$previews"}
--> {"jsonrpc":"2.0","id":6,"method":"shh_post","params":[{"symKeyID":"$key","ttl":60,"topic":"0x5a4ea131","payload":"0x64696e6e6572","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":6,"result":"$dinner"}
<-- {"jsonrpc":"2.0","method":"push_subscription","params":{"subscription":"$previews","result":{"kind":"messages","previews":[{"channel":"$family","name":"family","topic":"0x5a4ea131","text":"dinner","payload":"0x64696e6e6572","sent":"$_","claimed":true,"hash":"$dinner","message":"$_","link":"$link"}],"dismissed":[],"missing":[],"gap":false,"more":false}}}
--> {"jsonrpc":"2.0","id":7,"method":"push_history","params":["desktop"]}
<-- {"jsonrpc":"2.0","id":7,"result":{"kind":"messages","previews":[{"channel":"$family","name":"family","topic":"0x5a4ea131","text":"dinner","payload":"0x64696e6e6572","sent":"$_","claimed":true,"hash":"$dinner","message":"$_","link":"$link"}],"dismissed":[],"missing":[],"gap":false,"more":false}}
--> {"jsonrpc":"2.0","id":8,"method":"push_shown","params":["desktop",["$dinner"]]}
<-- {"jsonrpc":"2.0","id":8,"result":true}
--> {"jsonrpc":"2.0","id":9,"method":"push_seen","params":["desktop",["$dinner"]]}
<-- {"jsonrpc":"2.0","id":9,"result":true}
--> {"jsonrpc":"2.0","id":10,"method":"push_history","params":["desktop"]}
<-- {"jsonrpc":"2.0","id":10,"result":{"kind":"messages","previews":[],"dismissed":[],"missing":[],"gap":false,"more":false}}
--> {"jsonrpc":"2.0","id":11,"method":"push_unsubscribe","params":["$previews"]}
<-- {"jsonrpc":"2.0","id":11,"result":true}

// Channels of a registered device are changed at the mailserver too.
--> {"jsonrpc":"2.0","id":12,"method":"push_removeChannels","params":["desktop",["$work"]]}
<-- {"jsonrpc":"2.0","id":12,"result":[{"id":"$family","name":"family","topic":"0x5a4ea131","mode":"every","mutedUntil":0,"unlisted":false}]}
--> {"jsonrpc":"2.0","id":13,"method":"push_channels","params":["desktop"]}
<-- {"jsonrpc":"2.0","id":13,"result":[{"id":"$family","name":"family","topic":"0x5a4ea131","mode":"every","mutedUntil":0,"unlisted":false}]}
--> {"jsonrpc":"2.0","id":14,"method":"push_status","params":["desktop"]}
<-- {"jsonrpc":"2.0","id":14,"result":{"active":true,"state":"active","reason":"","expires":"$_","seq":"$_","channels":1,"lines":"$_"}}

--> {"jsonrpc":"2.0","id":15,"method":"push_devices","params":[]}
<-- {"jsonrpc":"2.0","id":15,"result":[{"name":"desktop","server":"","active":true,"channels":1}]}
--> {"jsonrpc":"2.0","id":16,"method":"push_unregister","params":["desktop"]}
<-- {"jsonrpc":"2.0","id":16,"result":true}
--> {"jsonrpc":"2.0","id":17,"method":"push_deleteDevice","params":["desktop"]}
<-- {"jsonrpc":"2.0","id":17,"result":true}
--> {"jsonrpc":"2.0","id":18,"method":"push_devices","params":[]}
<-- {"jsonrpc":"2.0","id":18,"result":[]}
