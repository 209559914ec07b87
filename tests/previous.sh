#!/bin/bash
# Makes an earlier release of a tree that `make install` laid down, for tools/packages.sh
# and the tests of an upgrade: the same programs with another configuration file,
# without what later releases brought, and with scripts that know nothing of it.
#
#   tests/previous.sh TREE PACKAGING
set -euo pipefail
tree=$1 packaging=$2

# As shipped then: an unedited file gives way to today's, an edited one stays.
cat >"$tree/etc/wslmesh/wslmesh.toml" <<'T2'
# wslmesh: configuration of the agent, as version 0.0.9 shipped it.

#[mtu]
#interfaces = ["wg*"]
#value = 1280
T2

rm -rf "$tree"/usr/lib/{sysusers.d,tmpfiles.d,systemd/catalog} "$tree"/usr/share/{dbus-1,polkit-1,bash-completion,zsh,fish}
# Of the man pages there were two.
find "$tree/usr/share/man" -type f ! -name wslmesh.8 ! -name wslmesh.toml.5 -delete
sed -i '/systemd-sysusers wslmesh\|systemd-tmpfiles --create\|rm -rf \/var\/lib\/wslmesh\/windows/d' "$packaging/deb/postinst" "$packaging/rpm/wslmesh.spec"
