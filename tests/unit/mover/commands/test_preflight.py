"""A restore that probes first: it goes on where the probe agrees with the last one, and has read nothing before."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ocore_crds.commands.probe import ProbeResult
from ocore_crds.commands.restore import Preflight
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import DatabaseFacts
from ocore_mover.commands.restore import RestoreRun
from ocore_mover.database import connect
from support.mover.application import Application
from support.mover.desk import Desk
from support.mover.site import Site

FACTS = DatabaseFacts(name="shop", server_identity="7-1", server_major=17, used_bytes=10**9)
KNOWN = Preflight(database_name="shop", server_identity="7-1", server_major=17, most_used=10**9)
FOUND = (Finding(reason="MissingGrants", message="ALTER ROLE"),)


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        (ProbeResult(database=FACTS), True),
        (ProbeResult(database=FACTS.model_copy(update={"used_bytes": 10**9 + 1})), False),
        (ProbeResult(database=FACTS.model_copy(update={"server_major": 18})), False),
        (ProbeResult(database=FACTS.model_copy(update={"server_identity": "7-2"})), False),
        (ProbeResult(database=FACTS.model_copy(update={"name": "shop2"})), False),
        (ProbeResult(), False),
        *((ProbeResult(database=FACTS, **{name: FOUND}), False) for name in ("blocking", "creatable", "rollback")),
        *((ProbeResult(database=FACTS, **{name: FOUND}), False) for name in ("own_store", "snapshots")),
    ],
)
def test_whatever_a_probe_finds_the_operator_judges(found: ProbeResult, *, passes: bool) -> None:
    assert KNOWN.passes(found) is passes
    assert KNOWN.model_copy(update={"most_used": None}).passes(ProbeResult(database=FACTS))


def test_files_only() -> None:
    assert Preflight().passes(ProbeResult())
    assert not Preflight().passes(ProbeResult(database=FACTS))


def facts(desk: Desk) -> dict[str, Any]:
    """What a probe finds now, as the last one has."""
    found = desk.ok("probe").result["payload"]["database"]
    return {
        "serverMajor": found["serverMajor"],
        "serverIdentity": found["serverIdentity"],
        "databaseName": found["name"],
        "mostUsed": found["usedBytes"] + 2**30,
    }


def test_a_restore_probes_before_it_reads_anything(site_any: Site, tmp_path: Path) -> None:
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(3)
    desk.ok("snapshot")
    known, before = facts(desk), site_any.databases()
    hidden = desk.store.with_name("hidden")
    shutil.move(desk.store, hidden)
    for changed in ({"serverMajor": 9}, {"serverIdentity": "another"}, {"mostUsed": 1}):
        done = desk.ok("restore", "--preflight", json.dumps({**known, **changed}))
        assert done.result["payload"]["kind"] == "probe", "it has read the store, which is gone"
        assert not [each for each in done.reports if each["type"] == "probed"]
    assert site_any.databases() == before
    shutil.move(hidden, desk.store)
    done = desk.ok("restore", "--preflight", json.dumps(known))
    assert done.result["payload"]["kind"] == "restore"
    lines = done.reports
    (answer,) = (n for n, each in enumerate(lines) if each["type"] == "probed")
    (begins, *_) = (n for n, each in enumerate(lines) if each.get("step") in ("RestoreDatabase", "RestoreFilestore"))
    assert answer < begins
    assert lines[answer]["probe"]["database"]["name"] == known["databaseName"]


def test_the_preflight_of_a_restore_has_one_session(
    site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open one takes longer than what most checks ask; users wait for it."""
    desk = Desk(site_any, tmp_path, layout="Plain")
    desk.ok("snapshot")
    opened, at_its_end = [], []
    inner = connect._open

    def open_(*given: Any, **named: Any) -> connect.Connection:
        opened.append(given[1])
        return inner(*given, **named)

    monkeypatch.setattr(connect, "_open", open_)
    monkeypatch.setattr(RestoreRun, "_make_filestore", lambda _: at_its_end.extend(opened))
    assert desk.run("restore", "--capacity", str(10**15)).code == 0
    assert at_its_end == ["ocore-check"]
