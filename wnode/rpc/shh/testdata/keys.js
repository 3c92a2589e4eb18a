// Key pairs: made, shown, forgotten.

--> {"jsonrpc":"2.0","id":1,"method":"shh_newKeyPair","params":[]}
<-- {"jsonrpc":"2.0","id":1,"result":"$pair"}
--> {"jsonrpc":"2.0","id":2,"method":"shh_hasKeyPair","params":["$pair"]}
<-- {"jsonrpc":"2.0","id":2,"result":true}
--> {"jsonrpc":"2.0","id":3,"method":"shh_getPublicKey","params":["$pair"]}
<-- {"jsonrpc":"2.0","id":3,"result":"$public"}
--> {"jsonrpc":"2.0","id":4,"method":"shh_getPrivateKey","params":["$pair"]}
<-- {"jsonrpc":"2.0","id":4,"result":"$private"}

// The private key alone gives the same public key under another id.
--> {"jsonrpc":"2.0","id":5,"method":"shh_addPrivateKey","params":["$private"]}
<-- {"jsonrpc":"2.0","id":5,"result":"$copy"}
--> {"jsonrpc":"2.0","id":6,"method":"shh_getPublicKey","params":["$copy"]}
<-- {"jsonrpc":"2.0","id":6,"result":"$public"}
--> {"jsonrpc":"2.0","id":7,"method":"shh_deleteKeyPair","params":["$copy"]}
<-- {"jsonrpc":"2.0","id":7,"result":true}
--> {"jsonrpc":"2.0","id":8,"method":"shh_hasKeyPair","params":["$copy"]}
<-- {"jsonrpc":"2.0","id":8,"result":false}
--> {"jsonrpc":"2.0","id":9,"method":"shh_deleteKeyPair","params":["no such id"]}
<-- {"jsonrpc":"2.0","id":9,"error":{"code":-32000,"message":"key pair no such id not found"}}
--> {"jsonrpc":"2.0","id":10,"method":"shh_getPrivateKey","params":["no such id"]}
<-- {"jsonrpc":"2.0","id":10,"error":{"code":-32000,"message":"invalid id"}}
--> {"jsonrpc":"2.0","id":11,"method":"shh_addPrivateKey","params":["0x00"]}
<-- {"jsonrpc":"2.0","id":11,"error":{"code":-32000,"message":"invalid length, need 256 bits"}}

// Symmetric keys. The key of a password is the one that every Whisper node derives.
--> {"jsonrpc":"2.0","id":12,"method":"shh_generateSymKeyFromPassword","params":["status-offline-inbox"]}
<-- {"jsonrpc":"2.0","id":12,"result":"$password"}
--> {"jsonrpc":"2.0","id":13,"method":"shh_getSymKey","params":["$password"]}
<-- {"jsonrpc":"2.0","id":13,"result":"$derived"}
--> {"jsonrpc":"2.0","id":14,"method":"shh_addSymKey","params":["0x0101010101010101010101010101010101010101010101010101010101010101"]}
<-- {"jsonrpc":"2.0","id":14,"result":"$sym"}
--> {"jsonrpc":"2.0","id":15,"method":"shh_getSymKey","params":["$sym"]}
<-- {"jsonrpc":"2.0","id":15,"result":"0x0101010101010101010101010101010101010101010101010101010101010101"}
--> {"jsonrpc":"2.0","id":16,"method":"shh_hasSymKey","params":["$sym"]}
<-- {"jsonrpc":"2.0","id":16,"result":true}
--> {"jsonrpc":"2.0","id":17,"method":"shh_deleteSymKey","params":["$sym"]}
<-- {"jsonrpc":"2.0","id":17,"result":true}
--> {"jsonrpc":"2.0","id":18,"method":"shh_deleteSymKey","params":["$sym"]}
<-- {"jsonrpc":"2.0","id":18,"result":false}
--> {"jsonrpc":"2.0","id":19,"method":"shh_hasSymKey","params":["$sym"]}
<-- {"jsonrpc":"2.0","id":19,"result":false}
--> {"jsonrpc":"2.0","id":20,"method":"shh_addSymKey","params":["0x01"]}
<-- {"jsonrpc":"2.0","id":20,"error":{"code":-32000,"message":"wrong key size: 1"}}
--> {"jsonrpc":"2.0","id":21,"method":"shh_newSymKey","params":[]}
<-- {"jsonrpc":"2.0","id":21,"result":"$random"}
