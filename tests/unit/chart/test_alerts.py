"""The chart's alerts: each fires when it should and is silent when it should not, has a page, and asks for metrics that
exist."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster.cluster import REPOSITORY

from . import promtool
from .alert_cases import ALERTS, Case, Cases, Series
from .exported import exported, exposition

FILE = REPOSITORY / "charts/ocore-snapshots/files/alerts.yaml"
RUNBOOKS = REPOSITORY / "docs/runbooks"
GROUPS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
#: Labels that Prometheus adds to what it scrapes.
SCRAPED = {"namespace", "job", "pod", "instance"}


# --- promtool --------------------------------------------------------------------------------------------------
def values(series: Series, at: int, step: int) -> str:
    """The samples from 0 to `at` in promtool's notation. A series that ends is marked as stale, as by a scrape that
    lacks it."""
    samples: list[str] = []
    for second in range(0, at + 1, step):
        begun = [value for begin, value in series.steps if begin <= second]
        if begun and begun[-1] is not None:
            samples.append(f"{begun[-1]:.0f}")
        else:
            samples.append("stale" if samples and samples[-1] not in ("stale", "_") else "_")
    return " ".join(samples)


def written(series: Series) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items()))
    return f"{series.name}{{{labels}}}"


def annotations(alert: str, labels: dict[str, str], value: str) -> dict[str, str]:
    """As Prometheus renders the templates, for the two kinds that the file uses."""
    found = {}
    for name, text in RULES[alert]["annotations"].items():
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda m: labels[m[1]], text)
        found[name] = text.replace("{{ $value | humanizeDuration }}", value)
        assert "{{" not in found[name]
    return found


def expected(alert: str, cases: Cases, case: Case) -> list[dict[str, Any]]:
    return [
        {
            "exp_labels": {**labels, "severity": cases.severity},
            "exp_annotations": annotations(alert, labels, case.value),
        }
        for labels in case.fires
    ]


def evaluate(folder: Path, alert: str, forms: dict[str, dict[str, Any]]) -> tuple[int, str]:
    """Runs the alert's cases over forms of its rule: name of the form -> the fields that differ. Returns exit code and
    output. Each form must show the same alerts; one run for all, because its series cost more than its rules."""
    cases = ALERTS[alert]
    rules = [{**copy.deepcopy(RULES[alert]), **fields, "alert": name} for name, fields in forms.items()]
    (folder / "alerts.yaml").write_text(json.dumps({"groups": [{"name": "forms", "rules": rules}]}))
    document = {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": f"{cases.step}s",
        "tests": [
            {
                "name": case.why,
                "interval": f"{cases.step}s",
                "input_series": [{"series": written(s), "values": values(s, case.at, cases.step)} for s in case.series],
                "alert_rule_test": [
                    {"eval_time": f"{case.at}s", "alertname": name, "exp_alerts": expected(alert, cases, case)}
                    for name in forms
                ],
            }
            for case in cases.cases
        ],
    }
    (folder / "test.yaml").write_text(json.dumps(document))
    done = promtool.run("test", "rules", folder / "test.yaml")
    return done.returncode, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    done = promtool.run("check", "rules", "--lint=all", "--lint-fatal", FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_cases() -> None:
    assert set(ALERTS) == set(RULES)
    for alert, cases in ALERTS.items():
        assert [c for c in cases.cases if c.fires], f"{alert} fires in no case"
        assert [c for c in cases.cases if not c.fires], f"{alert} is silent in no case"


@pytest.mark.parametrize("alert", ALERTS)
def test_it_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    code, output = evaluate(tmp_path, alert, {alert: {}})
    assert code == 0, output


@pytest.mark.parametrize("alert", ALERTS)
def test_its_cases_notice_a_change(alert: str, tmp_path: Path) -> None:
    """Else they would show nothing: an alert that never fires, one that fires at once, and one that lacks a
    condition. A case must show other alerts than it expects; rules that cannot be read do not count."""
    forms: dict[str, dict[str, Any]] = {"NeverFires": {"expr": "vector(1) > 2"}, "AtOnce": {"for": "0s"}}
    lines = RULES[alert]["expr"].splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("and ", "unless ")):
            forms[f"EndsBeforeLine{number}"] = {"expr": "\n".join(lines[:number])}
    code, output = evaluate(tmp_path, alert, forms)
    assert code != 0
    assert {name for name in forms if f"alertname: {name}, time:" not in output} == set(), output


def test_the_cases_use_series_that_the_operator_exports() -> None:
    """With exactly its labels: a case with others would test a rule that never fires."""
    for cases in ALERTS.values():
        for series in (s for case in cases.cases for s in case.series):
            assert set(series.labels) == exported()[series.name] | SCRAPED, series.name


# --- metrics ---------------------------------------------------------------------------------------------------
def metrics_in(expression: str) -> set[str]:
    """Names of metrics in an expression: ours and those of the process."""
    return set(re.findall(r"\b(?:ocore|process)_\w+", expression))


@pytest.mark.parametrize("alert", RULES)
def test_every_metric_is_exported(alert: str) -> None:
    names = metrics_in(RULES[alert]["expr"])
    assert names
    assert names - set(exported()) == set()


def test_an_unknown_metric_is_noticed() -> None:
    assert metrics_in('max(ocore_nothing{a="b"}) > 0') - set(exported()) == {"ocore_nothing"}


def test_the_exposition_is_valid() -> None:
    done = promtool.run("check", "metrics", stdin=exposition())
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: advice about names
    assert "error while linting" not in done.stderr


def test_every_family_is_in_the_docs() -> None:
    """And the docs list no other."""
    page = (REPOSITORY / "docs/metrics.md").read_text()
    table = page.partition("## Health and metrics")[2].partition("## ")[0]
    listed = set(re.findall(r"`(ocore_\w+)", table))
    families = {re.sub(r"_(bucket|sum|count)$", "", n) for n in exported() if re.match(r"ocore_\w+(?<!_created)$", n)}
    assert listed - families == set()
    assert families - listed == set()


# --- runbooks --------------------------------------------------------------------------------------------------
def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == set(RULES)
    index = (RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"\]\((Ocore\w+)\.md\)", index)) == set(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    page = (RUNBOOKS / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(parts) == ["What it means", "What to look at", "What to do"]
    assert all(text.strip() for text in parts.values())
    assert "```sh\n" in parts["What to look at"]


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_says_what_happened(alert: str) -> None:
    rule = RULES[alert]
    assert rule["labels"] == {"severity": ALERTS[alert].severity}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())
