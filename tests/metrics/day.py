"""Turns the day of src/report/metrics/tests/day.rs into what promtool reads.

    python3 tests/metrics/day.py rules DAY RULES >TEST     promtool test rules
    python3 tests/metrics/day.py samples DAY >OPENMETRICS  promtool tsdb create-blocks-from
    python3 tests/metrics/day.py names FILE...             the metrics in rules and dashboards
"""

import json
import re
import sys

MINUTES = 1440

# In which minutes an alert has to be firing, and in which it may besides. At all others, and so
# without its cause, it must not.
EXPECTED = {
    "WslmeshDown": [(66, 79, 65, 86)],
    "WslmeshStale": [(132, 139, 130, 145)],
    "WslmeshNoAddress": [(183, 194, 182, 199)],
    "WslmeshError": [(186, 194, 185, 199)],
    "WslmeshWarning": [(271, 289, 270, 294)],
    "WslmeshAddressUnstable": [(350, 370, 330, 420)],
    "WslmeshOutages": [(197, 250, 194, 258)],
    "WslmeshTunnelSilent": [(434, 449, 431, 454)],
    "WslmeshTunnelUnreadable": [(486, 499, 485, 504)],
    "WslmeshForwardDown": [(251, 289, 250, 294)],
    "WslmeshRelayDown": [(546, 559, 545, 564)],
    "WslmeshWindowsFails": [(625, 638, 606, 662)],
    "WslmeshInteropFails": [(630, 660, 614, 700)],
    "WslmeshClockWrong": [(706, 729, 705, 734)],
    "WslmeshDnsDown": [(766, 789, 765, 794)],
    "WslmeshRecoveryIncomplete": [(822, 878, 820, 881)],
    "WslmeshSlow": [(925, 955, 910, 985)],
}

LABELS = 'instance="node:9100",job="node"'


def frames(path):
    """Minute, when the file was modified, and the samples of it."""
    found = []
    for line in open(path, encoding="utf-8"):
        if line.startswith("# ") and line[2].isdigit():
            minute, modified = map(int, line[2:].split())
            found.append((minute, modified, {}))
        elif not line.startswith("#"):
            name, value = line.rstrip("\n").rsplit(" ", 1)
            found[-1][2][name] = value
    if len(found) != MINUTES:
        sys.exit(f"{len(found)} minutes in {path}")
    return found


def with_labels(name):
    """A series as Prometheus has it after a scrape."""
    if name.endswith("}"):
        return name[:-1] + "," + LABELS + "}"
    return name + "{" + LABELS + "}"


def series(path):
    """By name: a value for each minute, none where there is no sample."""
    found = {}
    for minute, modified, samples in frames(path):
        samples["up"] = "1"
        if len(samples) > 1:
            name = 'node_textfile_mtime_seconds{file="/var/lib/prometheus/node-exporter/wslmesh.prom"}'
            samples[name] = str(modified)
        for name, value in samples.items():
            found.setdefault(with_labels(name), [None] * MINUTES)[minute] = value
    return found


def rules(day, path):
    alerts = re.findall(r"^ +- alert: (\w+)$", open(path, encoding="utf-8").read(), re.M)
    if sorted(alerts) != sorted(EXPECTED):
        sys.exit(f"not the alerts of {path}: {set(alerts) ^ set(EXPECTED)}")
    inputs = []
    for name, values in series(day).items():
        before, text = None, []
        for value in values:
            # A series that ends is marked as such, as a scrape does.
            text.append(value or ("stale" if before else "_"))
            before = value
        inputs.append({"series": name, "values": " ".join(text)})
    tests = []
    for minute in range(1, MINUTES):
        unsure, firing = [], []
        for alert, ranges in EXPECTED.items():
            if any(begin <= minute <= end for begin, end, _, _ in ranges):
                firing.append(alert)
            elif any(begin <= minute <= end for _, _, begin, end in ranges):
                unsure.append(alert)
        # Each fifth minute, and each in which something is expected to be different.
        if minute % 5 and not firing:
            continue
        but = "|".join(unsure)
        samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing]
        expression = f'group by (alertname) (ALERTS{{alertstate="firing",alertname!~"{but}"}})'
        tests.append({"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples})
    test = {"interval": "1m", "input_series": inputs, "promql_expr_test": tests}
    # YAML has JSON in it.
    print(json.dumps({"rule_files": [path], "evaluation_interval": "1m", "tests": [test]}))
    quiet = sum(not one["exp_samples"] for one in tests)
    print(f"{len(tests)} moments of a day, {quiet} of them without an alert", file=sys.stderr)


def samples(day):
    all_frames = frames(day)
    base = all_frames[0][1]
    by_family = {}
    for name, values in series(day).items():
        by_family.setdefault(name.split("{")[0], []).append((name, values))
    for family, members in sorted(by_family.items()):
        # Counters too: what a query does with them goes by the name alone.
        print(f"# TYPE {family} unknown")
        for name, values in members:
            for minute, value in enumerate(values):
                if value is not None:
                    print(f"{name} {value} {base + minute * 60}")
    print("# EOF")


def names(paths):
    found = set()
    for path in paths:
        found |= set(re.findall(r"\b(?:wslmesh|node)_[a-z0-9_]+", open(path, encoding="utf-8").read()))
    print(*sorted(found), sep="\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"rules": rules, "samples": samples, "names": lambda *paths: names(paths)}[command](*arguments)
