// What is refused, and in which words.

--> {"jsonrpc":"2.0","id":1,"method":"push_newDevice","params":[{"name":"../nodekey"}]}
<-- {"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"the name of a device is 1 to 64 of a-z, A-Z, 0-9, dot, dash and underscore"}}
--> {"jsonrpc":"2.0","id":2,"method":"push_newDevice","params":[{"name":"a","server":"$server"}]}
<-- {"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"give both server and pushKey, or neither for this node"}}
--> {"jsonrpc":"2.0","id":3,"method":"push_newDevice","params":[{"name":"a"}]}
<-- {"jsonrpc":"2.0","id":3,"result":true}
--> {"jsonrpc":"2.0","id":4,"method":"push_newDevice","params":[{"name":"a"}]}
<-- {"jsonrpc":"2.0","id":4,"error":{"code":-32000,"message":"there is a device of this name already; choose another, or delete it with push_deleteDevice"}}
--> {"jsonrpc":"2.0","id":5,"method":"push_register","params":["a",{"routes":[]}]}
<-- {"jsonrpc":"2.0","id":5,"error":{"code":-32000,"message":"client: Registration.Routes is empty; give at least one way to wake the device, such as a push token or DirectRoute"}}
--> {"jsonrpc":"2.0","id":6,"method":"push_addChannels","params":["a",[{"name":"x","topic":"0x5a4ea131"}]]}
<-- {"jsonrpc":"2.0","id":6,"error":{"code":-32000,"message":"give exactly one of symKeyID, privateKeyID and password for each channel"}}
--> {"jsonrpc":"2.0","id":7,"method":"push_addChannels","params":["a",[{"name":"x","topic":"0x5a4ea131","symKeyID":"none"}]]}
<-- {"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"non-existent key ID"}}
--> {"jsonrpc":"2.0","id":8,"method":"push_addChannels","params":["a",[{"name":"x","topic":"0x5a4ea131","password":"p","mode":"loud"}]]}
<-- {"jsonrpc":"2.0","id":8,"error":{"code":-32000,"message":"there is no mode \"loud\"; give one of every, mentions, muted"}}
--> {"jsonrpc":"2.0","id":9,"method":"push_receive","params":["a",{"hello":"world"}]}
<-- {"jsonrpc":"2.0","id":9,"error":{"code":-32000,"message":"$_"}}
--> {"jsonrpc":"2.0","id":10,"method":"push_newCapability","params":["a","bob"]}
<-- {"jsonrpc":"2.0","id":10,"error":{"code":-32000,"message":"nobody may ring this device; register it with rings set to true first"}}
--> {"jsonrpc":"2.0","id":11,"method":"push_status","params":["b"]}
<-- {"jsonrpc":"2.0","id":11,"error":{"code":-32000,"message":"there is no device of this name; push_newDevice makes one"}}
--> {"jsonrpc":"2.0","id":12,"method":"push_status","params":["a"]}
<-- {"jsonrpc":"2.0","id":12,"result":{"active":false,"state":"none","reason":"","expires":0,"seq":0,"channels":0,"lines":"$_"}}
--> {"jsonrpc":"2.0","id":13,"method":"push_close","params":[]}
<-- {"jsonrpc":"2.0","id":13,"error":{"code":-32601,"message":"the method push_close does not exist/is not available"}}
--> {"jsonrpc":"2.0","id":14,"method":"push_subscribe","params":["previews","b"]}
<-- {"jsonrpc":"2.0","id":14,"error":{"code":-32000,"message":"there is no device of this name; push_newDevice makes one"}}
