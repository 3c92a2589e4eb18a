// What post and the filters refuse, in geth's words.

--> {"jsonrpc":"2.0","id":1,"method":"shh_newSymKey","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":"$key"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_post","params":[{"ttl":10,"topic":"0x5a4ea131","payload":"0x00"}]}
<-- {"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"specify either a symmetric or an asymmetric key"}}
--> {"jsonrpc":"2.0","id":3,"method":"shh_post","params":[{"symKeyID":"$key","pubKey":"0x04","topic":"0x5a4ea131","payload":"0x00"}]}
<-- {"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"specify either a symmetric or an asymmetric key"}}
--> {"jsonrpc":"2.0","id":4,"method":"shh_post","params":[{"symKeyID":"$key","payload":"0x00"}]}
<-- {"jsonrpc":"2.0","id":4,"error":{"code":-32000,"message":"missing topic(s)"}}
--> {"jsonrpc":"2.0","id":5,"method":"shh_post","params":[{"symKeyID":"other","topic":"0x5a4ea131","payload":"0x00"}]}
<-- {"jsonrpc":"2.0","id":5,"error":{"code":-32000,"message":"non-existent key ID"}}
--> {"jsonrpc":"2.0","id":6,"method":"shh_post","params":[{"pubKey":"0x04","payload":"0x00"}]}
<-- {"jsonrpc":"2.0","id":6,"error":{"code":-32000,"message":"invalid public key"}}
--> {"jsonrpc":"2.0","id":7,"method":"shh_post","params":[{"symKeyID":"$key","topic":"0x5a4ea131","payload":"0x00","powTarget":0.1,"powTime":1}]}
<-- {"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"message rejected, PoW too low"}}
--> {"jsonrpc":"2.0","id":8,"method":"shh_post","params":[{"symKeyID":"$key","sig":"nobody","topic":"0x5a4ea131","payload":"0x00","powTarget":0.3,"powTime":1}]}
<-- {"jsonrpc":"2.0","id":8,"error":{"code":-32000,"message":"invalid id"}}
--> {"jsonrpc":"2.0","id":9,"method":"shh_post","params":[{"symKeyID":"$key","topic":"0x5a4ea131","payload":"0x00","targetPeer":"nobody"}]}
<-- {"jsonrpc":"2.0","id":9,"error":{"code":-32000,"message":"invalid peer; give an enode URL"}}
--> {"jsonrpc":"2.0","id":10,"method":"shh_post","params":[{"symKeyID":"$key","topic":"0x5a4ea131","payload":"0x00","targetPeer":"enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@127.0.0.1:3"}]}
<-- {"jsonrpc":"2.0","id":10,"error":{"code":-32000,"message":"send to the target peer: whisper: peer is not connected"}}
--> {"jsonrpc":"2.0","id":11,"method":"shh_newMessageFilter","params":[{}]}
<-- {"jsonrpc":"2.0","id":11,"error":{"code":-32000,"message":"specify either a symmetric or an asymmetric key"}}
--> {"jsonrpc":"2.0","id":12,"method":"shh_subscribe","params":["messages",{"symKeyID":"$key"}]}
<-- {"jsonrpc":"2.0","id":12,"error":{"code":-32000,"message":"missing topic(s)"}}
--> {"jsonrpc":"2.0","id":13,"method":"shh_newMessageFilter","params":[{"symKeyID":"other","topics":["0x5a4ea131"]}]}
<-- {"jsonrpc":"2.0","id":13,"error":{"code":-32000,"message":"non-existent key ID"}}
--> {"jsonrpc":"2.0","id":14,"method":"shh_newMessageFilter","params":[{"symKeyID":"$key","topics":["0x5a4ea131"],"sig":"0x04"}]}
<-- {"jsonrpc":"2.0","id":14,"error":{"code":-32000,"message":"invalid signing public key"}}
--> {"jsonrpc":"2.0","id":15,"method":"shh_newMessageFilter","params":[{"privateKeyID":"nobody"}]}
<-- {"jsonrpc":"2.0","id":15,"error":{"code":-32000,"message":"invalid id"}}
