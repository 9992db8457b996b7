"""The Grafana dashboard of the chart: its JSON has what Grafana needs, and every panel asks for metrics that exist and
shows data."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.cluster.cluster import REPOSITORY

from . import promtool
from .exported import exported

FILE = REPOSITORY / "charts/ocore-snapshots/files/dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = [p for p in DASHBOARD["panels"] if p["type"] != "row"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
TARGETS = [
    pytest.param(panel, target, id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
#: Labels that Prometheus adds to what it scrapes.
SCRAPED = {"namespace", "job", "pod", "instance"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: What the dashboard must show.
REQUIRED = {
    "ocore_snapshot_last_success_timestamp_seconds",
    "ocore_operations_total", "ocore_operation_duration_seconds_bucket",
    "ocore_snapshot_stored_bytes", "ocore_policy_kept_snapshots", "ocore_policy_pinned_snapshots", "ocore_queue_length",
    "ocore_jobs_waiting", "ocore_queue_seconds_bucket", "ocore_reconcile_seconds_total", "ocore_ready",
    "ocore_environment_rollback_ready", "ocore_leader",
}  # fmt: skip


def plain(expression: str) -> str:
    """As Grafana sends it, with all namespaces and environments selected."""
    for name, value in (("$__rate_interval", "5m"), ("$namespace", ".*"), ("$environment", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def expressions() -> list[str]:
    return [plain(target["expr"]) for panel in PANELS for target in panel["targets"]]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric of an expression, with the labels that it is selected by."""
    found = re.findall(r"\b((?:ocore|process)_\w+)(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)(?==|!)", matchers))) for name, matchers in found]


def labels_of(expression: str) -> set[str] | None:
    """Labels of the result; None where they are those of the metric."""
    grouped = re.findall(r"\bby \(([\w, ]*)\)", expression)
    if not grouped:
        return set() if re.match(r"(sum|max|count)\(", expression) else None
    return {label.strip() for label in grouped[0].split(",")} - {"le"}


# --- the JSON --------------------------------------------------------------------------------------------------
def test_grafana_can_load_it() -> None:
    assert DASHBOARD["title"]
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"])
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert "id" not in DASHBOARD  # of another Grafana's database
    assert set(DASHBOARD["time"]) == {"from", "to"}
    identifiers = [p["id"] for p in DASHBOARD["panels"]]
    assert len(identifiers) == len(set(identifiers))
    assert {p["type"] for p in DASHBOARD["panels"]} == {"row", "stat", "timeseries", "state-timeline"}


def test_panels_fill_the_grid_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(0 <= x < 24 for x, _ in cells), panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


@pytest.mark.parametrize("panel", PANELS, ids=lambda p: p["title"])
def test_a_panel_has_targets(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["datasource"] == DATASOURCE
    assert panel["targets"]
    assert all(target["expr"] and target["datasource"] == DATASOURCE for target in panel["targets"])
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references))
    assert panel["fieldConfig"]["defaults"]


def test_variables_are_defined_and_used() -> None:
    names = {v["name"] for v in VARIABLES}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD)))
    assert used == names
    for variable in (v for v in VARIABLES if v["type"] == "query"):
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert query is not None
        ((metric, matched),) = selectors(query[1])
        assert {query[2], *matched} <= exported()[metric]


# --- the expressions -------------------------------------------------------------------------------------------
def test_what_was_asked_for_is_shown() -> None:
    shown = {name for expression in expressions() for name, _ in selectors(expression)}
    assert shown >= REQUIRED


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_an_expression_names_what_is_exported(panel: dict[str, Any], target: dict[str, Any]) -> None:
    expression = plain(target["expr"])
    found = selectors(expression)
    assert found
    for name, matched in found:
        assert name in exported(), name
        assert matched <= exported()[name], f"{name} has no labels {matched - exported()[name]}"
    labels = labels_of(expression)
    (first, _), *_ = found
    assert labels is None or labels <= exported()[first] | SCRAPED
    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert shown <= (exported()[first] | SCRAPED if labels is None else labels), panel["title"]


def series() -> list[dict[str, str]]:
    """An environment with snapshots and one without, counters that grow, and something to see in every panel."""
    shop, new = 'namespace="shop",environment="shop"', 'namespace="shop",environment="new"'
    named = 'namespace="shop",name="shop"'
    samples = {
        f"ocore_snapshot_last_success_timestamp_seconds{{{shop}}}": "600x36",
        f"ocore_snapshot_last_success_timestamp_seconds{{{new}}}": "0x36",
        f"ocore_snapshot_last_verified_timestamp_seconds{{{shop}}}": "600x36",
        f"ocore_restore_test_last_success_timestamp_seconds{{{shop}}}": "600x36",
        f"ocore_policy_success_due_timestamp_seconds{{{shop}}}": "900x36",
        f"ocore_snapshot_stored_bytes{{{shop}}}": "1000x36",
        f'ocore_ready{{kind="Environment",{named}}}': "1x36",
        f'ocore_ready{{kind="SnapshotStore",{named}}}': "0x36",
        f'ocore_ready{{kind="SnapshotPolicy",{named}}}': "1x36",
        f"ocore_environment_rollback_ready{{{named}}}": "0x36",
        f"ocore_policy_kept_snapshots{{{named}}}": "7x36",
        f"ocore_policy_pinned_snapshots{{{named}}}": "2x36",
        f"ocore_policy_suspended{{{named}}}": "1x36",
        f"ocore_policy_pin_limit_exceeded{{{named}}}": "1x36",
        'ocore_resources{kind="Snapshot",namespace="shop",phase="Complete"}': "3x36",
        'ocore_operations_total{kind="Snapshot",namespace="shop",reason=""}': "0+1x36",
        'ocore_operation_duration_seconds_bucket{kind="Snapshot",result="Complete",le="5"}': "0+1x36",
        'ocore_operation_duration_seconds_bucket{kind="Snapshot",result="Complete",le="+Inf"}': "0+2x36",
        'ocore_queue_seconds_bucket{urgent="true",le="+Inf"}': "0+2x36",
        'ocore_event_loop_lag_seconds_bucket{le="+Inf"}': "0+2x36",
        'ocore_namespace_readable{namespace="shop"}': "1x36",
        **dict.fromkeys(("ocore_leader{}", "ocore_queue_length{}", "ocore_jobs_waiting{}"), "1x36"),
        **{
            f"{name}{{}}": "0+3x36"
            for name in (
                "ocore_reconciles_total", "ocore_reconcile_errors_total", "ocore_reconcile_conflicts_total",
                "ocore_reconcile_seconds_total", "process_cpu_seconds_total", "process_resident_memory_bytes",
            )
        },
    }  # fmt: skip
    scraped = 'job="ocore",instance="a",pod="a"'
    return [{"series": k.replace("}", f",{scraped}}}").replace("{,", "{"), "values": v} for k, v in samples.items()]


def test_the_series_have_the_labels_that_are_exported() -> None:
    for each in series():
        name, _, labels = each["series"].partition("{")
        found = set(re.findall(r"(\w+)=", labels)) - {"job", "instance", "pod"}
        assert found == exported()[name], name


def test_every_expression_is_valid_and_returns_data(tmp_path: Path) -> None:
    """promtool parses and evaluates them: an alert for each fires if there is a result."""
    rules = [{"alert": f"Panel{n}", "expr": f"count({e}) > 0"} for n, e in enumerate(expressions())]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool.run("check", "rules", tmp_path / "rules.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tests = [
        {"eval_time": "30m", "alertname": rule["alert"], "exp_alerts": [{"exp_labels": {}, "exp_annotations": {}}]}
        for rule in rules
    ]
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series(), "alert_rule_test": tests}],
    }
    (tmp_path / "test.yaml").write_text(json.dumps(document))
    done = promtool.run("test", "rules", tmp_path / "test.yaml")
    output = done.stdout + done.stderr
    empty = [expressions()[int(n)] for n in re.findall(r"alertname: Panel(\d+)", output)]
    assert done.returncode == 0, f"no data: {empty}\n{output}"
