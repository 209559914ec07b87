"""Turns cargo metadata (standard input) into a CycloneDX document."""

import json
import re
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
locked = re.findall(
    r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"',
    open("Cargo.lock", encoding="utf-8").read(),
)
checksums = {(name, version): checksum for name, version, checksum in locked}

# Normal dependencies alone: build scripts and tests are not in the program.
root = metadata["resolve"]["root"]
reached, waiting = set(), [root]
while waiting:
    current = waiting.pop()
    for dependency in nodes[current]["deps"]:
        normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
        if normal and dependency["pkg"] not in reached:
            reached.add(dependency["pkg"])
            waiting.append(dependency["pkg"])


def component(package):
    """One crate."""
    name, version = package["name"], package["version"]
    entry = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
    if (name, version) in checksums:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksums[(name, version)]}]
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
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
            "licenses": [{"expression": packages[root]["license"]}],
        }
    },
    "components": components,
}
json.dump(document, sys.stdout, indent=1)
print()
