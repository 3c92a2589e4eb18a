// A mailserver is asked for what was written before the program listened. $server is its enode URL.

--> {"jsonrpc":"2.0","id":1,"method":"shhext_subscribe","params":["events"]}
<-- {"jsonrpc":"2.0","id":1,"result":"$events"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_generateSymKeyFromPassword","params":["kitchen"]}
<-- {"jsonrpc":"2.0","id":2,"result":"$key"}
--> {"jsonrpc":"2.0","id":3,"method":"shhext_post","params":[{"symKeyID":"$key","ttl":60,"topic":"0x5a4ea131","payload":"0x6f6e65","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":3,"result":"$one"}
<-- {"jsonrpc":"2.0","method":"shhext_subscription","params":{"subscription":"$events","result":{"type":"envelope.sent","hash":"$one"}}}
--> {"jsonrpc":"2.0","id":4,"method":"shhext_post","params":[{"symKeyID":"$key","ttl":60,"topic":"0x5a4ea131","payload":"0x74776f","powTime":5,"powTarget":0.3}]}
<-- {"jsonrpc":"2.0","id":4,"result":"$two"}
<-- {"jsonrpc":"2.0","method":"shhext_subscription","params":{"subscription":"$events","result":{"type":"envelope.sent","hash":"$two"}}}

--> {"jsonrpc":"2.0","id":5,"method":"shh_newMessageFilter","params":[{"symKeyID":"$key","topics":["0x5a4ea131"],"allowP2P":true}]}
<-- {"jsonrpc":"2.0","id":5,"result":"$filter"}
--> {"jsonrpc":"2.0","id":6,"method":"shhext_requestMessages","params":[{"mailServerPeer":"$server","topics":["0x5a4ea131"],"limit":1}]}
<-- {"jsonrpc":"2.0","id":6,"result":"$request"}
<-- {"jsonrpc":"2.0","method":"shhext_subscription","params":{"subscription":"$events","result":{"type":"mailserver.request.completed","hash":"$request","requestID":"$request","messages":1,"lastEnvelopeHash":"$_","cursor":"$cursor"}}}
--> {"jsonrpc":"2.0","id":7,"method":"shhext_requestMessages","params":[{"mailServerPeer":"$server","topics":["0x5a4ea131"],"cursor":"$cursor"}]}
<-- {"jsonrpc":"2.0","id":7,"result":"$next"}
<-- {"jsonrpc":"2.0","method":"shhext_subscription","params":{"subscription":"$events","result":{"type":"mailserver.request.completed","hash":"$next","requestID":"$next","messages":1,"lastEnvelopeHash":"$_"}}}
--> {"jsonrpc":"2.0","id":8,"method":"shh_getFilterMessages","params":["$filter"]}
<-- {"jsonrpc":"2.0","id":8,"result":["$first","$second"]}

// A topic on which nothing was written; a password that is wrong; what makes no sense.
--> {"jsonrpc":"2.0","id":9,"method":"shhext_requestMessages","params":[{"mailServerPeer":"$server","topic":"0x01010101"}]}
<-- {"jsonrpc":"2.0","id":9,"result":"$none"}
<-- {"jsonrpc":"2.0","method":"shhext_subscription","params":{"subscription":"$events","result":{"type":"mailserver.request.completed","hash":"$none","requestID":"$none"}}}
--> {"jsonrpc":"2.0","id":10,"method":"shhext_requestMessages","params":[{"mailServerPeer":"$server","symKeyID":"$key","timeout":1}]}
<-- {"jsonrpc":"2.0","id":10,"result":"$wrong"}
<-- {"jsonrpc":"2.0","method":"shhext_subscription","params":{"subscription":"$events","result":{"type":"mailserver.request.expired","hash":"$wrong","errorMessage":"the mailserver did not answer in time"}}}
--> {"jsonrpc":"2.0","id":11,"method":"shhext_requestMessages","params":[{"mailServerPeer":"nobody"}]}
<-- {"jsonrpc":"2.0","id":11,"error":{"code":-32000,"message":"invalid mailServerPeer; give an enode URL"}}
--> {"jsonrpc":"2.0","id":12,"method":"shhext_requestMessages","params":[{"mailServerPeer":"$server","from":2,"to":1}]}
<-- {"jsonrpc":"2.0","id":12,"error":{"code":-32000,"message":"from is behind to"}}
--> {"jsonrpc":"2.0","id":13,"method":"shhext_requestMessages","params":[{"mailServerPeer":"$server","cursor":"zz"}]}
<-- {"jsonrpc":"2.0","id":13,"error":{"code":-32000,"message":"invalid cursor; give the one of the event, as it was"}}
--> {"jsonrpc":"2.0","id":14,"method":"shhext_close","params":[]}
<-- {"jsonrpc":"2.0","id":14,"error":{"code":-32601,"message":"the method shhext_close does not exist/is not available"}}
