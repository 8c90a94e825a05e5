#!/usr/bin/env python3
"""Reads an export without the tools: with the password alone, from what docs/formats/manifest.md and docs/crypto.md say.

    read_export.py [--password-file FILE] EXPORT OUT      write the plaintext of every file
    read_export.py [--password-file FILE] --list EXPORT   print a JSON line for every file in every album

Only the encrypted part of the export is read: export.json, pull.jsonl, ciphertext.jsonl and objects/ (an export with
`--objects keep`). OUT gets COLLECTION/FILE/original for each file; for a live photo instead image.EXT and video.EXT.
Ends with 3 if something could not be read; the rest is written all the same.

Needs Python 3.9 and PyNaCl (libsodium), nothing else.
"""

import argparse, base64, getpass, json, os, shutil, sys, zipfile
from pathlib import Path

from nacl import bindings as sodium

CHUNK = 4 * 1024 * 1024 + 17
FINAL = 3


# --- docs/formats/manifest.md -----------------------------------------------------------------------------------------


def lines(path):
    """The facts of a .jsonl file (section 1): the head is checked, a torn last line is dropped."""
    with open(path, "rb") as file:
        head = json.loads(next(file))
        if head["format"] > 1:
            sys.exit(f"{path}: format {head['format']} is newer than this script")
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def closed_listing(state):
    """Live collections and files of the last closed listing (section 3)."""
    collections, files, unclosed = {}, {}, []
    for fact in lines(state / "pull.jsonl"):
        if fact["fact"] in ("collection", "file"):
            unclosed.append(fact)
        elif fact["fact"] == "listing":
            for closed in [] if fact.get("void") else unclosed:
                if closed["fact"] == "collection":
                    collections[closed["id"]] = closed
                else:
                    files[closed["collection"], closed["id"]] = closed
            unclosed = []
    collections = {id: fact for id, fact in collections.items() if not fact.get("gone")}
    files = {key: fact for key, fact in files.items() if not fact.get("gone") and key[0] in collections}
    return collections, files


class Ciphertext:
    """Entries as served (section 4), found by offset and length; where the index is stale, by reading all of the file."""

    def __init__(self, state):
        self.path, self.all = state / "ciphertext.jsonl", None
        self.file = open(self.path, "rb")

    def entry(self, fact, collection, file=None):
        self.file.seek(fact["at"])
        try:
            line = json.loads(self.file.read(fact["len"]))
        except ValueError:
            line = {}
        if (line.get("collection"), line.get("file")) == (collection, file):
            return line["entry"]
        if self.all is None:
            self.all = {(line["collection"], line.get("file")): line["entry"] for line in lines(self.path)}
        return self.all[collection, file]


# --- docs/crypto.md ---------------------------------------------------------------------------------------------------


def b64(text):
    return base64.b64decode(text, validate=True)


def unwrap(holder, member, nonce, key):
    """A secretbox: wrapped keys, collection names."""
    return sodium.crypto_secretbox_open(b64(holder[member]), b64(holder[nonce]), key)


def messages(header, key, chunks):
    """The messages of a secretstream with their tags."""
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    for chunk in chunks:
        yield sodium.crypto_secretstream_xchacha20poly1305_pull(state, chunk)


def blob(data, header, key):
    """A secretstream of one message: JSON."""
    (message, _tag), = messages(b64(header), key, [b64(data)])
    return json.loads(message)


class Keys:
    """What the password opens: master key and key pair."""

    def __init__(self, export, password):
        self.user_id = export["account"]["user_id"]
        attributes = export["key_attributes"]
        kek = sodium.crypto_pwhash_alg(
            32, password, b64(attributes["kekSalt"]), attributes["opsLimit"], attributes["memLimit"],
            sodium.crypto_pwhash_ALG_ARGON2ID13)  # fmt: skip
        self.master = unwrap(attributes, "encryptedKey", "keyDecryptionNonce", kek)
        self.secret = unwrap(attributes, "encryptedSecretKey", "secretKeyDecryptionNonce", self.master)
        self.public = b64(attributes["publicKey"])

    def of_collection(self, entry):
        if entry["owner"]["id"] == self.user_id:
            return unwrap(entry, "encryptedKey", "keyDecryptionNonce", self.master)
        return sodium.crypto_box_seal_open(b64(entry["encryptedKey"]), self.public, self.secret)


def album_name(entry, key):
    return entry.get("name") or unwrap(entry, "encryptedName", "nameDecryptionNonce", key).decode()


def effective(entry, key):
    """The metadata fixed at upload and the title that holds now."""
    metadata = blob(entry["metadata"]["encryptedData"], entry["metadata"]["decryptionHeader"], key)
    edits = entry.get("pubMagicMetadata") or {}
    edits = blob(edits["data"], edits["header"], key) if edits.get("data") else {}
    edited = edits.get("editedName")
    is_edited = isinstance(edited, str) and edited.strip()
    return metadata, edited if is_edited else metadata.get("title")


# --- writing ----------------------------------------------------------------------------------------------------------


def halves(path):
    """Still and video of a live photo by the name to write; empty if the file is no ZIP with both."""
    found = {}
    if zipfile.is_zipfile(path):
        for info in zipfile.ZipFile(path).infolist():
            name = info.filename.replace("\\", "/").rsplit("/", 1)[-1]
            for half in ("image", "video"):
                if name.lower().startswith(half) and not info.is_dir():
                    found.setdefault(half, (half + os.path.splitext(name)[1], info))
    return dict(found.values()) if len(found) == 2 else {}


def write(source, folder, entry, metadata, key):
    """Decrypts one object into its folder, which appears only when every chunk and the end are authentic."""
    work = folder.with_suffix(".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    original, tag = work / "original", None
    with open(source, "rb") as file, open(original, "wb") as out:
        chunks = iter(lambda: file.read(CHUNK), b"")
        for message, tag in messages(b64(entry["file"]["decryptionHeader"]), key, chunks):
            out.write(message)
    parts = []
    if metadata.get("fileType") == 2:
        for name, info in sorted(halves(original).items()):
            parts.append(work / name)
            with zipfile.ZipFile(original).open(info) as part, open(parts[-1], "wb") as out:
                shutil.copyfileobj(part, out)
    if tag != FINAL:
        raise ValueError("the stream does not end with FINAL")
    if parts:
        original.unlink()
    work.rename(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    args = parser.parse_args()
    if args.list == bool(args.out):
        parser.error("give either OUT or --list")
    password = args.password_file.read_bytes().split(b"\n")[0] if args.password_file else getpass.getpass().encode()

    state = args.export / ".ente"
    keys = Keys(json.loads((state / "export.json").read_text()), password)
    collections, files = closed_listing(state)
    ciphertext, opened, problems = Ciphertext(state), {}, 0
    for (collection, file), fact in sorted(files.items()):
        try:
            if collection not in opened:
                entry = ciphertext.entry(collections[collection], collection)
                key = keys.of_collection(entry)
                opened[collection] = key, album_name(entry, key)
            collection_key, album = opened[collection]
            entry = ciphertext.entry(fact, collection, file)
            key = unwrap(entry, "encryptedKey", "keyDecryptionNonce", collection_key)
            metadata, title = effective(entry, key)
            if args.list:
                print(json.dumps({"collection": collection, "file": file, "album": album, "title": title}))
            else:
                source = state / "objects" / fact["version"][:2] / f"{file}-{fact['version']}"
                write(source, args.out / str(collection) / str(file), entry, metadata, key)
        except Exception as error:  # one bad item never stops a run
            print(f"collection {collection}, file {file}: {type(error).__name__}: {error}", file=sys.stderr)
            problems += 1
    return 3 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
