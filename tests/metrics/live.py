"""A real agent, Debian's node_exporter and Debian's Prometheus, on loopback in namespaces.

    unshare -rn python3 tests/metrics/live.py WSLMESH TOOLS WORK

The agent writes its file, node_exporter reads it back, Prometheus scrapes that and evaluates
the rules. Prometheus also has the day of numbers in WORK/tsdb and answers each query of the
dashboard from it.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

program, tools, work = (pathlib.Path(one).resolve() for one in sys.argv[1:])
here = pathlib.Path(__file__).resolve().parents[2]
# The end of the day, in seconds since 1970.
day_ends = int((work / "base").read_text()) + 1440 * 60
LIMIT = 20
started = []


def start(name, *command, **environment):
    log = open(work / f"{name}.log", "w", encoding="utf-8")
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=work
    )
    started.append(process)
    return process


def until(what, ready):
    deadline = time.monotonic() + LIMIT
    last = None
    while time.monotonic() < deadline:
        try:
            found = ready()
            if found:
                return found
        except (OSError, ValueError) as error:
            last = error
        time.sleep(0.1)
    logs = "".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(work.glob("*.log")))
    sys.exit(f"not within {LIMIT} s: {what} ({last})\n{logs}")


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def query(expression, **arguments):
    kind = "query_range" if "start" in arguments else "query"
    arguments = urllib.parse.urlencode({"query": expression, **arguments})
    answer = json.loads(get(f"http://127.0.0.1:9090/api/v1/{kind}?{arguments}"))
    return answer["data"]["result"]


def series(text):
    """Names and labels of the agent's samples, in whatever order the labels are."""
    lines = [line for line in text.splitlines() if line.startswith("wslmesh_")]
    label = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
    return {(re.split("[{ ]", line)[0], *sorted(label.findall(line))) for line in lines}


def live():
    for command in (
        "ip link set lo up",
        "ip link add eth0 type veth peer name host0",
        "ip link set host0 up",
        "ip link set eth0 up",
        "ip address add 172.20.0.5/20 dev eth0",
        "ip route add default via 172.20.0.1",
    ):
        subprocess.run(command.split(), check=True)
    folder = work / "textfile"
    folder.mkdir(mode=0o755)
    file = folder / "wslmesh.prom"
    config = work / "wslmesh.toml"
    config.write_text(
        f'[network]\nconfig-file = "{work}/wsl-network.conf"\n[dns]\nrepair = false\n[metrics]\ntextfile = "{file}"\n'
    )
    nowhere = f"unix:path={work}/no-bus"
    paths = {"STATE_DIRECTORY": f"{work}/state", "RUNTIME_DIRECTORY": f"{work}/run"}
    agent = start(
        "agent", program, "run", "--config", config, WATCHDOG_USEC="1000000",
        DBUS_SYSTEM_BUS_ADDRESS=nowhere, **paths,
    )
    written = until("the agent's file", lambda: file.exists() and file.read_text())
    lint = subprocess.run([tools / "promtool", "check", "metrics"], input=written, text=True, capture_output=True)
    if lint.returncode or lint.stdout or lint.stderr:
        sys.exit(f"promtool check metrics: {lint.stdout}{lint.stderr}")
    print(f"ok - {len(series(written))} samples of a running agent pass promtool check metrics")

    start(
        "node_exporter", tools / "prometheus-node-exporter", "--collector.disable-defaults",
        "--collector.textfile", f"--collector.textfile.directory={folder}",
        "--web.listen-address=127.0.0.1:9100",
    )
    until("node_exporter", lambda: get("http://127.0.0.1:9100/metrics"))

    def reads_back():
        served, now = get("http://127.0.0.1:9100/metrics"), file.read_text()
        if "node_textfile_scrape_error 0" not in served:
            raise ValueError("node_textfile_scrape_error")
        types = {line for line in now.splitlines() if line.startswith("# TYPE")}
        same = series(now) == series(served)
        return same and types <= set(served.splitlines()) and len(series(now))

    count = until("what node_exporter reads", reads_back)
    print(f"ok - node_exporter reads all {count} samples back, with their types")

    (work / "prometheus.yml").write_text(
        "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
        f"rule_files: [{here}/docs/prometheus/wslmesh.rules.yml]\n"
        "scrape_configs:\n"
        "  - job_name: node\n"
        "    static_configs: [{ targets: ['127.0.0.1:9100'] }]\n"
    )
    start(
        "prometheus", tools / "prometheus", f"--config.file={work}/prometheus.yml",
        f"--storage.tsdb.path={work}/tsdb", "--web.listen-address=127.0.0.1:9090",
        f"--web.console.templates={work}", f"--web.console.libraries={work}",
    )
    until("Prometheus", lambda: get("http://127.0.0.1:9090/-/ready"))
    until("a scrape", lambda: query('wslmesh_up{instance="127.0.0.1:9100"} == 1'))
    rules = json.loads(get("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in rules for rule in group["rules"]]
    bad = [rule["name"] for rule in rules if rule["health"] == "err"]
    if bad or not rules:
        sys.exit(f"rules with errors: {bad}")
    print(f"ok - Prometheus scrapes it and evaluates {len(rules)} rules")

    subprocess.run("ip address flush dev eth0".split(), check=True)
    until("the alert's cause", lambda: query('ALERTS{alertname="WslmeshNoAddress",alertstate="pending"}'))
    print("ok - an address that is lost raises WslmeshNoAddress")
    agent.send_signal(signal.SIGTERM)
    if agent.wait(LIMIT) != 0 or file.exists():
        sys.exit("the agent's file is there after its end")
    print("ok - nothing is left of an agent that has ended")
    dashboard()


def dashboard():
    panels = json.loads((here / "docs/grafana/wslmesh.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    silent = []
    for expression in queries:
        expression = expression.replace("$instance", "node:9100")
        if not query(expression, start=day_ends - 1440 * 60, end=day_ends - 60, step=60):
            silent.append(expression)
    if silent or not queries:
        sys.exit(f"queries of the dashboard without an answer: {silent}")
    print(f"ok - all {len(queries)} queries of the dashboard have an answer in a day of numbers")


try:
    live()
finally:
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
