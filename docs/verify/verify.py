#!/usr/bin/env python3
"""Verifies an evidence ledger (C2SP tlog-tiles) with nothing but Python's standard library.
Exit code 0: nothing was altered. 1: something was, and each line says what."""
import argparse, base64, hashlib, itertools, json, os, re, sys
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # Ed25519: RFC 8032, section 5.1
D = -121665 * pow(121666, P - 2, P) % P
def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    return (b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P
def multiply(scalar, p):
    q = (0, 1, 1, 0)
    for bit in bin(scalar)[2:]: q = add(add(q, q), p) if bit == "1" else add(q, q)
    return q
def point(data):
    sign, y = divmod(int.from_bytes(data, "little"), 2**255)
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    x = x if (x * x - xx) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - xx) % P or (x == 0 and sign): raise ValueError("not a point of the curve")
    return (x, y, 1, x * y % P) if x & 1 == sign else (P - x, y, 1, (P - x) * y % P)
def is_signed(key, text, signature):
    digest = hashlib.sha512(signature[:32] + key + text).digest()
    h, s = int.from_bytes(digest, "little") % L, int.from_bytes(signature[32:], "little")
    a = multiply(s, point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")))
    b = add(point(signature[:32]), multiply(h, point(key)))
    return len(signature) == 64 and s < L and not any((a[i] * b[2] - b[i] * a[2]) % P for i in (0, 1))
def sha(data): return hashlib.sha256(data).digest()
def leaf(entry): return b"" if entry is None else sha(b"\0" + entry)
def exact(text):  # base64 in its one exact form
    if base64.b64encode(base64.b64decode(text)).decode() != text: raise ValueError("base64 is not in its exact form")
    return base64.b64decode(text)
def checkpoint(data, public_key):  # c2sp.org/signed-note and c2sp.org/tlog-checkpoint
    name, key_id, key = (exact(part) if i == 2 else part for i, part in enumerate(public_key.split("+", 2)))
    if len(key) != 33 or key[0] != 1 or sha(name.encode() + b"\n" + key)[:4].hex() != key_id: raise ValueError("bad key")
    text, lines = data.decode().rsplit("\n\n", 1)
    origin, size, root = (text + "\n").split("\n")[:3]
    lines = [re.fullmatch(r"— (\S+) (\S+)\n", line).groups() for line in lines.splitlines(keepends=True)]
    ours = [exact(blob)[4:] for signer, blob in lines if signer == name and exact(blob)[:4].hex() == key_id]
    if not ours or origin != name or not all(is_signed(key[1:], (text + "\n").encode(), signature) for signature in ours):
        raise ValueError("not signed by " + public_key)
    return int(size), exact(root)
def root_of(hashes):  # RFC 6962, section 2.1
    while len(hashes) > 1:
        pairs = (hashes[i:i + 2] for i in range(0, len(hashes), 2))
        hashes = [sha(b"\1" + pair[0] + pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return hashes[0] if hashes else sha(b"")
def path(kind, n, width):  # c2sp.org/tlog-tiles
    digits = "0" * (-len(str(n)) % 3) + str(n)
    return f"tile/{kind}/" + re.sub(r"(...)(?=.)", r"x\1/", digits) + f".p/{width}" * (width < 256)
def split(data):  # entries of a bundle, each after its length; None for a rest that is too short
    end = 0
    while end < len(data):
        start, end = end + 2, end + 2 + int.from_bytes(data[end:end + 2], "big")
        yield data[start:end] if end <= len(data) else None
def read(name): return open(os.path.join(args.ledger, name), "rb").read() if name in found else b""
usage = argparse.ArgumentParser(description=__doc__)
usage.add_argument("ledger", help="its directory")
usage.add_argument("key", help="its public key, or a file with it, from someone you trust")
usage.add_argument("--kept", help="a checkpoint that someone else kept: detects rewritten history")
usage.add_argument("--artefacts", help="directory of the files that records name: checks their SHA-256")
args, problems, artefacts, derived, stored = usage.parse_args(), [], {}, [], []
found = {os.path.relpath(os.path.join(d, f), args.ledger) for d, _, files in os.walk(args.ledger) for f in files}
try:
    public_key = open(args.key).read().rstrip() if os.path.exists(args.key) else args.key
    size, root = checkpoint(read("checkpoint"), public_key)
    kept = checkpoint(open(args.kept, "rb").read(), public_key) if args.kept else None
except Exception as error: sys.exit(f"checkpoint, kept checkpoint or public key altered: {error!r}")
tiles = [[(n // 256, min(256, (size >> 8 * level) - n)) for n in range(0, size >> 8 * level, 256)] for level in range(8)]
for n, width in tiles[0]:
    derived += ([leaf(entry) for entry in split(read(path("entries", n, width)))] + [b""] * width)[:width]
    tile = read(path(0, n, width))
    stored += [tile[i:i + 32] for i in range(0, 32 * width, 32)]
truth = next((hashes for hashes in (derived, stored) if root_of(hashes) == root), None)  # whom the root confirms
problems += ["neither entries nor tiles give the root of the checkpoint"] * (truth is None)
levels = [truth or stored]
while len(levels[-1]) >= 256: levels.append([root_of(levels[-1][i:i + 256]) for i in range(0, len(levels[-1]) - 255, 256)])
needed = {path(kind, *tile) for level in range(8) for tile in tiles[level] for kind in [level] + ["entries"] * (level == 0)}
for name in sorted((found | needed) - {"checkpoint", "public.key"}):
    match = re.fullmatch(r"tile/(entries|[0-7])/([x\d/]*\d)(?:\.p/(\d+))?", name)
    kind, n, width = (match[1], int(re.sub("[x/]", "", match[2])), int(match[3] or 256)) if match else ("7", 0, 0)
    hashes = [*levels, *[[]] * 8][0 if kind == "entries" else int(kind)][256 * n:256 * n + width]  # what must be there
    if name not in found: problems.append(f"{name} missing")
    elif not hashes or len(hashes) != width or path(kind, n, width) != name: problems.append(f"{name} does not belong here")
    elif kind != "entries": problems += [f"tile {name} altered"] * (read(name) != b"".join(hashes))
    else:
        entries = list(split(read(name)))
        for i, (entry, right) in enumerate(itertools.zip_longest(entries, hashes), 256 * n):
            if leaf(entry) != right:
                problems.append("entry %d altered (%s) %s" % (i, name, re.findall(rb'"id":"[^"]*"', entry or b"")))
                if len(entries) != width or None in entries: break  # a wrong length shifts all later entries
            elif args.artefacts and b'"artefacts":[{' in entry:
                for a in json.loads(entry)["artefacts"]: artefacts[os.path.join(args.artefacts, a["name"])] = a["sha256"], i
problems += ["public.key differs"] * ("public.key" in found and read("public.key") != public_key.encode() + b"\n")
if kept and (kept[0] > size or root_of(levels[0][:kept[0]]) != kept[1]):
    problems.append(f"history shortened or rewritten: {kept[0]} entries were signed in the kept checkpoint, {size} now")
problems += [f"artefact {file} does not have the SHA-256 in entry {i}" for file, (digest, i) in artefacts.items()
             if os.path.isfile(file) and sha(open(file, "rb").read()).hex() != digest]
print(*problems or [f"verified: {size} entries, root {base64.b64encode(root).decode()}, {public_key}"], sep="\n")
sys.exit(bool(problems))
