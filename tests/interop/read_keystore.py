#!/usr/bin/env python3
"""Opens a credential file without the tools: from what docs/formats/keystore.md says.

    read_keystore.py --passphrase-file FILE < SEALED     prints the secret members as JSON

Needs Python 3.9 and PyNaCl (libsodium), nothing else.
"""

import argparse, base64, json, sys
from pathlib import Path

from nacl import bindings as sodium

arguments = argparse.ArgumentParser()
arguments.add_argument("--passphrase-file", type=Path, required=True)
passphrase = arguments.parse_args().passphrase_file.read_bytes().removesuffix(b"\n")

file = json.load(sys.stdin)
if (file["format"], file["seal"]) != (1, "passphrase"):
    sys.exit("not sealed by a passphrase, or newer than this script")
key = sodium.crypto_pwhash_alg(
    32,
    passphrase,
    base64.b64decode(file["salt"], validate=True),
    file["ops_limit"],
    file["mem_limit"],
    sodium.crypto_pwhash_ALG_ARGON2ID13,
)
account = file["account"]
bound_to = ["ente-tools keystore 1", file["holds"], account["endpoint"], account["app"], account["user_id"], ""]
body = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
    base64.b64decode(file["sealed"], validate=True),
    "\n".join(map(str, bound_to)).encode(),
    base64.b64decode(file["nonce"], validate=True),
    key,
)
print(json.dumps(json.loads(body)))
