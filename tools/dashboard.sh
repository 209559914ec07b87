#!/bin/bash
# Checks docs/grafana/wslmesh.json against Grafana's own types (@grafana/schema, by npm): the
# dashboard, and of each panel its options and its style. No Grafana renders it, and
# tests/metrics has Prometheus answer the queries, of which the schema has no type.
#
#   tools/dashboard.sh
#
# Ends with 0 (in order), 77 (no npm here, or no registry) or another status (a finding).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=${CARGO_TARGET_DIR:-target}/dashboard
command -v npm >/dev/null || { echo "dashboard: npm is not installed"; exit 77; }
mkdir -p "$work"
cat >"$work/package.json" <<'END'
{ "private": true, "dependencies": { "@grafana/schema": "13.2.3", "typescript": "5.9.3" } }
END
npm install --prefix "$work" --no-audit --no-fund --ignore-scripts --silent \
    || { echo "dashboard: npm could not install @grafana/schema"; exit 77; }

python3 - docs/grafana/wslmesh.json >"$work/check.ts" <<'END'
import json, sys

dashboard = json.load(open(sys.argv[1], encoding="utf-8"))
raw = "@grafana/schema/dist/esm/raw/composable"
print("import type { Dashboard } from '@grafana/schema';")
for kind, name in [("timeseries", "TimeSeries"), ("stat", "Stat"), ("table", "Table")]:
    print(f"import type * as {kind} from '{raw}/{kind}/panelcfg/x/{name}PanelCfg_types.gen';")
# JSON has the values of an enumeration, not its names.
print("type Plain<T> = T extends string ? `${T}` : T extends number ? T : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;")


def check(name, kind, value):
    print(f"export const {name}: {kind} = {json.dumps(value)};")


check("dashboard", "Plain<Dashboard>", dashboard)
for panel in dashboard["panels"]:
    kind, number = panel["type"], panel["id"]
    if kind == "row":
        continue
    check(f"options{number}", f"Plain<Partial<{kind}.Options>>", panel["options"])
    custom = panel["fieldConfig"]["defaults"].get("custom")
    if custom:
        check(f"custom{number}", f"Plain<{kind}.FieldConfig>", custom)
END
"$work/node_modules/.bin/tsc" --noEmit --strict --skipLibCheck --module nodenext --moduleResolution nodenext "$work/check.ts"
echo "dashboard: $(grep -c '^export const' "$work/check.ts") parts have the types of Grafana's schema"
