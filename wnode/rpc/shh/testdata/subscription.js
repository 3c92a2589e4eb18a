// shh_subscribe sends each message as it comes, until shh_unsubscribe.

--> {"jsonrpc":"2.0","id":1,"method":"shh_newSymKey","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":"$key"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_subscribe","params":["messages",{"symKeyID":"$key","topics":["0x5a4ea131"]}]}
<-- {"jsonrpc":"2.0","id":2,"result":"$sub"}
--> {"jsonrpc":"2.0","id":3,"method":"shh_post","params":[{"symKeyID":"$key","ttl":10,"topic":"0x5a4ea131","payload":"0x01","padding":"0x02","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":3,"result":"$hash"}
<-- {"jsonrpc":"2.0","method":"shh_subscription","params":{"subscription":"$sub","result":{"ttl":10,"timestamp":946684800,"topic":"0x5a4ea131","payload":"0x01","padding":"0x02","pow":"$_","hash":"$hash"}}}
--> {"jsonrpc":"2.0","id":4,"method":"shh_unsubscribe","params":["$sub"]}
<-- {"jsonrpc":"2.0","id":4,"result":true}
--> {"jsonrpc":"2.0","id":5,"method":"shh_subscribe","params":["nonsense"]}
<-- {"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"no \"nonsense\" subscription in shh namespace"}}
