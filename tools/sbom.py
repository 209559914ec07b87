"""Turns cargo metadata (standard input) into a list of crates and their notices."""

import json
import pathlib
import re
import sys

metadata = json.load(sys.stdin)
packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
locked = re.findall(
    r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"',
    open("Cargo.lock", encoding="utf-8").read(),
)
checksums = {(name, version): checksum for name, version, checksum in locked}

reached = sorted(tuple(line.split("|")[0].split(" ")) for line in open(sys.argv[2], encoding="utf-8"))
own = next(package for package in metadata["packages"] if package["name"] == "wslmesh")


def component(package):
    """One crate."""
    name, version = package["name"], package["version"]
    entry = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
    if (name, version) in checksums:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksums[(name, version)]}]
    if package.get("license"):
        entry["licenses"] = [{"expression": re.sub(" ?/ ?", " OR ", package["license"])}]
    return entry


components = sorted((component(packages[name]) for name in reached), key=lambda entry: entry["purl"])
document = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {
        "component": {
            "type": "application",
            "name": "wslmesh",
            "version": sys.argv[1],
            "licenses": [{"expression": own["license"]}],
        }
    },
    "components": components,
}
out = pathlib.Path(sys.argv[3])
(out / "wslmesh.cdx.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

# The licences ask that they and their copyright lines go along with the program.
# Most crates share their texts: each text once, with its crates.
texts = {}
for package in (packages[name] for name in reached):
    folder = pathlib.Path(package["manifest_path"]).parent
    name = f"{package['name']} {package['version']} ({package['license']})"
    files = sorted(
        path for path in folder.iterdir() if re.match(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", path.name, re.I)
    )
    found = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files if path.is_file()]
    if not found:
        authors = ", ".join(package["authors"]) or "the authors of " + package["name"]
        found = [f"The crate has no file with its licence. It is under {package['license']}, of {authors}."]
    for text in found:
        texts.setdefault("\n".join(line.rstrip() for line in text.splitlines()), []).append(name)
with open(out / "THIRD-PARTY", "w", encoding="utf-8") as notices:
    print("The programs contain these libraries. What follows is theirs, word for word.", file=notices)
    for text, names in texts.items():
        print("\n" + "=" * 79, *names, "-" * 79, text, sep="\n", file=notices)
