#!/bin/bash
# What the workflow windows.yml does inside the distribution, as root.
#   machine.sh install   unpack the built tree, configure two forwards, start everything
#   machine.sh wait      wait until the agent has made the forwards
set -euo pipefail

wait_for_agent() {
    for _ in $(seq 60); do
        if systemctl is-active --quiet wslmesh && wslmesh status >/dev/null; then
            return
        fi
        sleep 1
    done
    journalctl --no-pager -u wslmesh
    exit 1
}

echo_server() {
    cat >"/etc/systemd/system/echo-$1.service" <<UNIT
[Service]
ExecStart=/usr/bin/socat $2 EXEC:/bin/cat
[Install]
WantedBy=multi-user.target
UNIT
}

case "${1:-}" in
install)
    tar -C / -xf tree.tar
    mkdir -p /etc/wslmesh
    cat >/etc/wslmesh/wslmesh.toml <<TOML
[[forward]]
name = "echo-tcp"
protocol = "tcp"
listen-port = 22222
connect-port = 7000

[[forward]]
name = "echo-udp"
protocol = "udp"
listen-port = 22223
connect-port = 7001
TOML
    echo_server tcp "TCP4-LISTEN:7000,reuseaddr,fork"
    echo_server udp "UDP4-LISTEN:7001,reuseaddr,fork"
    systemctl daemon-reload
    systemctl enable --now echo-tcp echo-udp wslmesh
    wait_for_agent
    ;;
wait)
    wait_for_agent
    ;;
*)
    echo "usage: machine.sh install | wait" >&2
    exit 2
    ;;
esac
