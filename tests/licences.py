"""Holds what a package says of licences to Cargo.lock and to what cargo links.

    tools/sbom.sh crates TREE | python3 tests/licences.py DOC LICENCE

DOC is the deb's folder of documents, LICENCE what the rpm is labelled with.
"""

import gzip
import json
import pathlib
import re
import sys

doc, label = pathlib.Path(sys.argv[1]), sys.argv[2]
listed = json.loads((doc / "wslmesh.cdx.json").read_text(encoding="utf-8"))
notices = gzip.decompress((doc / "THIRD-PARTY.gz").read_bytes()).decode("utf-8")
locked = dict(
    ((name, version), checksum)
    for name, version, checksum in re.findall(
        r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"',
        pathlib.Path("Cargo.lock").read_text(encoding="utf-8"),
    )
)


def parts(expression):
    """An SPDX expression as the set of what all must be kept, each a set of choices."""
    return {
        frozenset(re.split(r" OR | ?/ ?", part.strip(" ()")))
        for part in re.split(r" AND (?![^(]*\))", expression)
    }


linked = {}
for line in sys.stdin:
    package, licence = line.strip().split("|")
    linked[tuple(package.split(" "))] = licence

faults = []
crates = {(entry["name"], entry["version"]): entry for entry in listed["components"]}
faults += [f"{crate} is linked and not listed" for crate in sorted(linked.keys() - crates.keys())]
faults += [f"{crate} is listed and not linked" for crate in sorted(crates.keys() - linked.keys())]
for crate, licence in sorted(linked.items()):
    entry = crates.get(crate, {})
    said = entry.get("licenses", [{}])[0].get("expression", "")
    if not licence or parts(said) != parts(licence):
        faults.append(f"{crate}: cargo says '{licence}', the list '{said}'")
    if locked.get(crate) is None or entry.get("hashes", [{}])[0].get("content") != locked[crate]:
        faults.append(f"{crate}: not the checksum of Cargo.lock")
    if f"\n{crate[0]} {crate[1]} (" not in notices:
        faults.append(f"{crate}: no notice in THIRD-PARTY")
    if not parts(licence) <= parts(label):
        faults.append(f"{crate}: '{licence}' is not in the rpm's License: {label}")
if not linked:
    faults.append("cargo tree named no crate")
print(*faults, sep="\n", end="\n" if faults else "")
print(f"licences: {len(linked)} crates, each listed with its licence, checksum and notice" if not faults else "licences: wrong")
sys.exit(bool(faults))
