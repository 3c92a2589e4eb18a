// Mailservers that announced themselves, this node among them.

--> {"jsonrpc":"2.0","id":1,"method":"push_offers","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":[{"pushKey":"$_","enode":"$_","providers":[{"name":"fcm","info":""},{"name":"direct","info":""}],"channels":"$_","lifetime":"$_","price":"","issued":"$_","expires":"$_"}]}
