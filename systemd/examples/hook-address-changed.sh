#!/bin/sh
# Sends the node's new address to a dynamic DNS service. An example: put it, with
# your own server and token, into /etc/wslmesh/hooks.d/address-changed/ as root,
#
#   install -m 700 hook-address-changed.sh /etc/wslmesh/hooks.d/address-changed/10-dyndns
#
# The token is in a file of root's, so that it does not show in the process list:
# /etc/wslmesh/dyndns.curl (mode 600) has two lines for curl,
#
#   url = "https://dns.example/update?host=node.example&token=SECRET"
#   silent
set -eu

echo "$WSLMESH_INTERFACE: $WSLMESH_ADDRESS_OLD -> $WSLMESH_ADDRESS_NEW ($WSLMESH_MODE, gateway $WSLMESH_GATEWAY)"
exec curl --config /etc/wslmesh/dyndns.curl --fail --max-time 20 \
    --data-urlencode "address=$WSLMESH_ADDRESS_NEW"
