"""A device written from docs/protocol.md alone, with none of this project's code: it registers with a
mailserver over HTTPS, proves its address, is woken by a webhook, fetches what it was woken for and
decrypts it. Numbers in brackets are the document's sections.

    stranger.py --door URL --pushkey HEX --chat NAME --password WORDS --count N
"""

import argparse
import base64
import hashlib
import hmac
import http.server
import json
import queue
import secrets
import struct
import sys
import threading
import time
import urllib.request

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

try:  # PyPI's name, and Debian's
    from Crypto.Cipher import ChaCha20, ChaCha20_Poly1305
    from Crypto.Hash import keccak
except ImportError:
    from Cryptodome.Cipher import ChaCha20, ChaCha20_Poly1305
    from Cryptodome.Hash import keccak

REGISTER, CONFIRM, UNREGISTER, FETCH, SEEN = 1, 2, 4, 6, 7  # kinds of requests [3]
MESSAGES, CHALLENGE = 1, 2  # kinds of wake-ups [6]
DIRECT, FRAME_LIMIT = 127, 10 << 20  # a frame of envelopes, and the longest that is taken [14]


def keccak256(*parts):
    h = keccak.new(digest_bits=256)
    for part in parts:
        h.update(part)
    return h.digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


# RLP [2]: bytes, integers and lists.


def encode(item):
    if isinstance(item, (list, tuple)):
        body = b"".join(encode(i) for i in item)
        return head(0xC0, body) + body
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if len(item) == 1 and item[0] < 0x80:
        return item
    return head(0x80, item) + item


def head(base, body):
    if len(body) < 56:
        return bytes([base + len(body)])
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size


def decode(data):
    """Returns the first item of data, and what follows it."""
    first = data[0]
    if first < 0x80:
        return data[:1], data[1:]
    base = 0xC0 if first >= 0xC0 else 0x80
    size, at = first - base, 1
    if size > 55:
        at = 1 + size - 55
        size = int.from_bytes(data[1:at], "big")
    body, rest = data[at : at + size], data[at + size :]
    if len(body) < size:
        raise ValueError("RLP is cut off")
    if base == 0x80:
        return body, rest
    items = []
    while body:
        item, body = decode(body)
        items.append(item)
    return items, rest


def number(b):
    return int.from_bytes(b, "big")


# secp256k1: the library signs, but does not recover who signed.

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(k, point):
    total = None
    while k:
        if k & 1:
            total = add(total, point)
        point, k = add(point, point), k >> 1
    return total


def compress(point):
    return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")


def recover(digest, signature):
    """Returns the compressed key that made a signature r ‖ s ‖ v [2], or None."""
    r, s, v = number(signature[:32]), number(signature[32:64]), signature[64]
    if not (0 < r < N and 0 < s < N and v < 2):
        return None
    y = pow(r**3 + 7, (P + 1) // 4, P)
    if y * y % P != (r**3 + 7) % P:
        return None
    inverse = pow(r, -1, N)
    point = (r, y if y & 1 == v else P - y)
    key = add(multiply(s * inverse % N, point), multiply(-number(digest) * inverse % N, G))
    return key and compress(key)


class Key:
    """A secp256k1 key."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256K1())
        self.public = self.private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        )

    def sign(self, digest):
        der = self.private.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        r, s = utils.decode_dss_signature(der)
        s = min(s, N - s)
        body = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return next(body + bytes([v]) for v in (0, 1) if recover(digest, body + bytes([v])) == self.public)


# ECIES and messages [2].


def ecies_keys(shared):
    k = hashlib.sha256(b"\x00\x00\x00\x01" + shared).digest()
    return k[:16], hashlib.sha256(k[16:]).digest()


def aes_ctr(key, iv, data):
    c = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return c.update(data) + c.finalize()


def ecies_seal(receiver, message):
    ephemeral = ec.generate_private_key(ec.SECP256K1())
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), receiver)
    encryption, authentication = ecies_keys(ephemeral.exchange(ec.ECDH(), public))
    iv = secrets.token_bytes(16)
    c = iv + aes_ctr(encryption, iv, message)
    r = ephemeral.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return r + c + mac(authentication, c)


def ecies_open(private, data):
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), data[:65])
    encryption, authentication = ecies_keys(private.exchange(ec.ECDH(), public))
    c, tag = data[65:-32], data[-32:]
    if not hmac.compare_digest(tag, mac(authentication, c)):
        raise ValueError("not for this key")
    return aes_ctr(encryption, c[:16], c[16:])


def pack(payload, key):
    """Makes the message of a payload, signed and padded."""
    size = (len(payload).bit_length() + 7) // 8
    message = bytes([size | 4]) + len(payload).to_bytes(size, "little") + payload
    whole = next(n for n in (1024, 4096, 16384, 65536) if n >= len(message) + 65)
    message += secrets.token_bytes(whole - 65 - len(message))
    return message + key.sign(keccak256(message))


def unpack(message):
    """Returns the payload of a message, and who signed it."""
    size = message[0] & 3
    length = int.from_bytes(message[1 : 1 + size], "little")
    payload = message[1 + size : 1 + size + length]
    signer = recover(keccak256(message[:-65]), message[-65:]) if message[0] & 4 else None
    return payload, signer


def password_key(words):
    return hashlib.pbkdf2_hmac("sha256", words.encode(), b"", 65356, 32)


def open_symmetric(key, data):
    return unpack(aead.AESGCM(key).decrypt(data[-12:], data[:-12], None))


def topic_of(name):
    return keccak256(name.encode())[:4]


def envelope(topic, data, pow_wanted, ttl=50):
    """Mines an envelope [2]."""
    expiry = int(time.time()) + ttl
    work = encode([expiry, ttl, topic, data])
    for nonce in range(1 << 32):
        leading = 256 - number(keccak256(work, struct.pack(">Q", nonce))).bit_length()
        if 2**leading / (len(work) * ttl) >= pow_wanted:
            return encode([expiry, ttl, topic, data, nonce])
    raise ValueError("no nonce does")


# Wake-ups [6]: HPKE (RFC 9180) for its secret export, and chains.

SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)


def labeled_extract(suite, salt, label, material):
    return mac(salt or bytes(32), b"HPKE-v1", suite, label, material)


def labeled_expand(suite, secret, label, info, length):
    return HKDFExpand(hashes.SHA256(), length, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info).derive(secret)


def hpke_export(private, encapsulated, info, context):
    shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(encapsulated))
    kem = b"KEM" + struct.pack(">H", 0x0020)
    extracted = labeled_extract(kem, b"", b"eae_prk", shared)
    secret = labeled_expand(kem, extracted, b"shared_secret", encapsulated + raw(private), 32)
    schedule = b"\x00" + labeled_extract(SUITE, b"", b"psk_id_hash", b"") + labeled_extract(SUITE, b"", b"info_hash", info)
    secret = labeled_extract(SUITE, secret, b"secret", b"")
    exporter = labeled_expand(SUITE, secret, b"exp", schedule, 32)
    return labeled_expand(SUITE, exporter, b"sec", context, 32)


def raw(private):
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def hkdf(material, info):
    return HKDF(hashes.SHA256(), 32, None, info).derive(material)


def private_bytes(private):
    return private.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())


def chain_start(private, version):
    return hkdf(private_bytes(private), b"whisperpush/2 chain" + struct.pack(">Q", version))


def open_wakeup(private, body):
    p = base64.b64decode(json.loads(body)["p"], validate=True)
    nonce, masked, sealed = p[:24], p[24:56], p[56:]
    mask = ChaCha20.new(key=hkdf(raw(private), b"whisperpush/2 mask"), nonce=nonce)
    named = mask.encrypt(masked)
    if named[16:] == bytes(16):
        version, at = struct.unpack(">QQ", named[:16])
        if at >= 16384:
            raise ValueError("no chain is so long")
        link = chain_start(private, version)
        for _ in range(at):
            link = hashlib.sha256(link + b"\x02").digest()
        key = hashlib.sha256(link + b"\x01").digest()
    else:
        key = hpke_export(private, named, b"whisperpush/2", b"payload")
    opened = ChaCha20_Poly1305.new(key=key, nonce=nonce).decrypt_and_verify(sealed[:-16], sealed[-16:])
    fields, rest = decode(opened)
    if rest.strip(b"\x00") or number(fields[0]) != 2:
        raise ValueError("no wake-up of version 2")
    return fields + [b""] * (8 - len(fields))


class Device:
    def __init__(self, door, push_key):
        self.door, self.server, self.pow = door, push_key, 0.2
        self.key, self.seal = Key(), x25519.X25519PrivateKey.generate()

    def offer(self):
        """Reads the server's offer [9, 14], which must be of the push key that was given."""
        with urllib.request.urlopen(self.door + "/.well-known/whisperpush", timeout=30) as answer:
            fields, _ = decode(answer.read(1 << 16))
        name = b"whisperpush/2/offer"
        payload, signer = open_symmetric(keccak256(name), fields[3])
        if fields[2] != keccak256(name)[:4] or signer != self.server:
            raise ValueError("the offer is not of the push key that was given")
        offer, _ = decode(payload)
        if number(offer[0]) != 2 or number(offer[2]) < time.time():
            raise ValueError("the offer is of another version, or has expired")
        self.pow = max(self.pow, struct.unpack(">d", offer[5][4].rjust(8, b"\x00"))[0])
        return [provider[0].decode() for provider in offer[4]]

    def ask(self, kind, body):
        """Sends a request [3], and returns the reply [5] and the envelopes before it."""
        identity = secrets.token_bytes(16)
        payload = encode([2, kind, identity, int(time.time() * 1000), body, self.server])
        sealed = ecies_seal(self.server, pack(payload, self.key))
        request = urllib.request.Request(
            self.door + "/whisperpush/request", envelope(topic_of("whisperpush/2"), sealed, self.pow)
        )
        before = []
        with urllib.request.urlopen(request, timeout=30) as answer:
            while len(frame := answer.read(5)) == 5:
                code, size = frame[0], number(frame[1:])
                if size > FRAME_LIMIT:
                    raise ValueError("a frame is too long")
                content = answer.read(size)
                if code != DIRECT:
                    continue
                fields, _ = decode(content)
                if fields[2] != topic_of("whisperpush/2"):
                    before.append(content)
                    continue
                payload, signer = unpack(ecies_open(self.key.private, fields[3]))
                reply, _ = decode(payload)
                if signer != self.server or reply[1] != identity or reply[8] != self.key.public:
                    continue  # of somebody else, or for somebody else
                if number(reply[2]) != 0:
                    raise ValueError("refused with %d: %s" % (number(reply[2]), reply[3].decode()))
                return reply, before
        raise ValueError("there was no reply")

    def register(self, url, secret, topic):
        version = int(time.time() * 1000)
        routes = [[b"webhook", url.encode(), [secret]]]
        preferences = [b"", b"", []]
        channels = [[topic, 0, 0]]
        body = [version, routes, raw(self.seal), 0, channels, 3600, b"", preferences, chain_start(self.seal, version)]
        return self.ask(REGISTER, body)[0]

    def confirm(self, fields):
        code, server, account = fields[5], fields[6], fields[7]
        if server != self.server or account != self.key.public:
            raise ValueError("a challenge for somebody else")
        proof = mac(code, b"whisperpush/2 confirm", self.server, self.key.public)
        return self.ask(CONFIRM, [bytes(16), proof])[0]

    def fetch(self, wanted):
        _, envelopes = self.ask(FETCH, [wanted])
        for e in envelopes:
            if keccak256(e) not in wanted:
                raise ValueError("an envelope that was not asked for")
        return envelopes


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers["Content-Length"]), 4096))
        signed = b".".join([self.headers["webhook-id"].encode(), self.headers["webhook-timestamp"].encode(), body])
        right = b"v1," + base64.b64encode(mac(self.server.secret, signed))
        if right not in self.headers["webhook-signature"].encode().split():
            self.send_error(401)
            return
        self.server.pushes.put(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def say(*words):
    print(*words, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--door", required=True, help="address of the server's door")
    parser.add_argument("--pushkey", required=True, help="the server's push key, compressed, in hexadecimal")
    parser.add_argument("--chat", required=True, help="name of the chat, of which its topic is made")
    parser.add_argument("--password", required=True, help="of the chat")
    parser.add_argument("--count", type=int, default=1, help="end after so many messages")
    options = parser.parse_args()

    device = Device(options.door.rstrip("/"), bytes.fromhex(options.pushkey.removeprefix("0x")))
    say("offer", *device.offer())
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    hook.secret, hook.pushes = secrets.token_bytes(32), queue.Queue()
    threading.Thread(target=hook.serve_forever, daemon=True).start()

    topic, key = topic_of(options.chat), password_key(options.password)
    reply = device.register("http://127.0.0.1:%d/wake" % hook.server_port, hook.secret, topic)
    say("registered, state", number(reply[4]))
    shown = set()
    while len(shown) < options.count:
        fields = open_wakeup(device.seal, hook.pushes.get(timeout=60))
        if number(fields[1]) == CHALLENGE:
            say("confirmed, state", number(device.confirm(fields)[4]))
        elif number(fields[1]) == MESSAGES:
            say("woken", number(fields[2]))
            for found in device.fetch(fields[4]):
                parts, _ = decode(found)
                if parts[2] != topic or keccak256(parts[3]) in shown:
                    continue
                try:
                    payload, signer = open_symmetric(key, parts[3])
                except InvalidTag:
                    say("of another chat with the same topic")
                    continue
                shown.add(keccak256(parts[3]))
                say("message", payload.decode(errors="replace"), "from", signer.hex() if signer else "nobody")
            device.ask(SEEN, [fields[4]])
    device.ask(UNREGISTER, [int(time.time() * 1000) + 1])
    say("unregistered")
    hook.shutdown()


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, InvalidTag, queue.Empty) as error:
        sys.exit("stranger: %s: %s" % (type(error).__name__, error))
