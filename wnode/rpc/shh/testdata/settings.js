// What the node tells about itself, and what callers may change.

--> {"jsonrpc":"2.0","id":1,"method":"shh_version","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":"6.0"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_info","params":[]}
<-- {"jsonrpc":"2.0","id":2,"result":{"memory":0,"messages":0,"minPow":0.2,"maxMessageSize":1048576}}
--> {"jsonrpc":"2.0","id":3,"method":"shh_setMinPoW","params":[0.001]}
<-- {"jsonrpc":"2.0","id":3,"result":true}
--> {"jsonrpc":"2.0","id":4,"method":"shh_setMaxMessageSize","params":[2000]}
<-- {"jsonrpc":"2.0","id":4,"result":true}
--> {"jsonrpc":"2.0","id":5,"method":"shh_info","params":[]}
<-- {"jsonrpc":"2.0","id":5,"result":{"memory":0,"messages":0,"minPow":0.001,"maxMessageSize":2000}}
--> {"jsonrpc":"2.0","id":6,"method":"shh_setMinPoW","params":[-1]}
<-- {"jsonrpc":"2.0","id":6,"error":{"code":-32000,"message":"whisper: minimum proof of work -1 is not a finite number of at least 0"}}
--> {"jsonrpc":"2.0","id":7,"method":"shh_setMaxMessageSize","params":[10485761]}
<-- {"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"whisper: maximum message size 10485761 is not between 1 and 10485760 bytes"}}
--> {"jsonrpc":"2.0","id":8,"method":"shh_setBloomFilter","params":["0x0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"]}
<-- {"jsonrpc":"2.0","id":8,"error":{"code":-32000,"message":"invalid bloom filter of 65 bytes; give 64"}}
--> {"jsonrpc":"2.0","id":9,"method":"shh_setBloomFilter","params":["0x000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"]}
<-- {"jsonrpc":"2.0","id":9,"error":{"code":-32000,"message":"invalid bloom filter of 63 bytes; give 64"}}
--> {"jsonrpc":"2.0","id":10,"method":"shh_setBloomFilter","params":["0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"]}
<-- {"jsonrpc":"2.0","id":10,"result":true}
--> {"jsonrpc":"2.0","id":11,"method":"shh_makeLightClient","params":[]}
<-- {"jsonrpc":"2.0","id":11,"result":true}
--> {"jsonrpc":"2.0","id":12,"method":"shh_cancelLightClient","params":[]}
<-- {"jsonrpc":"2.0","id":12,"result":true}
--> {"jsonrpc":"2.0","id":13,"method":"shh_markTrustedPeer","params":["enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@127.0.0.1:3?discport=0"]}
<-- {"jsonrpc":"2.0","id":13,"error":{"code":-32000,"message":"could not find peer with ID: 4e011cb2992bd7b507ed927124ed17f4bce65944c8d700fbd28a77335bd86bbf"}}
--> {"jsonrpc":"2.0","id":14,"method":"shh_markTrustedPeer","params":["somebody"]}
<-- {"jsonrpc":"2.0","id":14,"error":{"code":-32000,"message":"invalid peer; give an enode URL"}}
--> {"jsonrpc":"2.0","id":15,"method":"shh_nonsense","params":[]}
<-- {"jsonrpc":"2.0","id":15,"error":{"code":-32601,"message":"the method shh_nonsense does not exist/is not available"}}
