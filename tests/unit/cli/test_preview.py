"""``kubectl ocore preview``, and the question before a rollback."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from ocore_cli import confirm, options, preview
from ocore_cli.errors import CliError
from ocore_cli.runs import run_of
from ocore_crds.kinds import ROLLBACK
from ocore_crds.resources.preview import NEVER, Preview
from ocore_crds.resources.rollback import RollbackSpec
from support.cli import DONE, FakeObjects, Object, at, condition, run

REPORT: Object = {
    "createdAt": at(0),
    "wouldRun": True,
    "pointInTime": at(-5400),
    "lostMinutes": 90.0,
    "database": {
        "bytesNow": 10 * 2**30,
        "bytesInSnapshot": 9 * 2**30,
        "serverVersionNow": "17.4",
        "serverVersionInSnapshot": "17.2",
        "rowsCounted": True,
        "tables": [
            {"name": "public.sale_order", "rowsNowEstimated": 1200000, "rowsInSnapshotCounted": 1100000},
            {"name": "public.dropped", "rowsInSnapshotCounted": 7, "existsNow": False},
            {"name": "public.new", "rowsNowEstimated": 5},
        ],
    },
    "files": {
        "layout": "Odoo",
        "filesInSnapshot": 1381,
        "bytesInSnapshot": 2**30,
        "filesToMove": 231,
        "bytesToMove": 2**20,
    },
    "version": {"imageNow": "shop:2", "imageInSnapshot": "shop:1", "commitNow": "abc", "commitInSnapshot": "abc"},
    "neutralizes": True,
    "space": [{"volume": "Database", "neededBytes": 2**30, "freeBytes": 2**20, "source": "spec.database.capacity."}],
    "prediction": {
        "durationSeconds": 131.0,
        "durationSource": "Rollbacks",
        "downtimeSeconds": 4.2,
        "downtimeSource": "Rollbacks",
        "rollbacks": 3,
        "explanation": "The downtime includes the time that the application needs to stop: at most 35 s.",
    },
}


def rollback(report: Object | None = REPORT, **status: Any) -> Object:
    ended = {} if report is None else {"phase": "Previewed", "stage": "Ended", "preview": report, "completedAt": at(0)}
    conditions = [condition("Reconciling", message="Job preview-x-1 reads what a rollback would do.")]
    if report is not None:
        conditions = [condition("Previewed", reason="WouldRun"), condition("Ready", reason="WouldRun")]
    return {
        "metadata": {"name": "preview-before-x7k2p", "namespace": "shop", "creationTimestamp": at(-3)},
        "spec": {"snapshotRef": {"name": "before"}, "dryRun": True},
        "status": {"phase": "Previewing", "environmentName": "shop", "conditions": conditions, **ended, **status},
    }


def switched() -> Object:
    """The Rollback that is undone."""
    return {
        "metadata": {"name": "back", "namespace": "shop", "creationTimestamp": at(-60)},
        "spec": {"snapshotRef": {"name": "before"}, "undoWindowSeconds": 3600, "createSafetySnapshot": True},
        "status": {
            "phase": "Complete",
            "conditions": [condition("Complete", reason="Succeeded")],
            "environmentName": "shop",
            "position": "New",
            "residue": "Pending",
            "switchedAt": at(-30),
            "undoUntil": at(86400),
        },
    }


def test_row_69_an_undo_shows_the_rows_of_what_it_sets_aside(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.states["rollback"] = [switched(), rollback()]
    typed(monkeypatch, "shop")
    assert run("undo", "back") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Rows now (estimated) Rows in snapshot (counted) public.sale_order 1,200,000 1,100,000" in shown
    previewed, undone = (RollbackSpec.model_validate(body["spec"]) for _, body in cli.created)
    assert (previewed.dry_run, previewed.not_after, previewed.create_safety_snapshot) == (True, NEVER, False)
    assert undone.undo is not None
    assert cli.deleted == [(ROLLBACK, "preview-before-x7k2p")]


def test_row_69_an_undo_does_not_wait_for_rows(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.states["rollback"] = [switched(), rollback(None)]
    monkeypatch.setattr(confirm, "_ROWS_SECONDS", 0.2)
    typed(monkeypatch, "shop")
    assert run("undo", "back") == 0
    assert "The rows of its tables are not known: there was no preview within" in " ".join(
        capsys.readouterr().out.split()
    )
    assert "undo" in cli.created[-1][1]["spec"]


def test_rows_are_not_compared_where_what_is_live_is_of_no_snapshot(
    cli: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = switched()
    back["status"]["position"] = "Old"
    cli.states["rollback"] = [back]
    typed(monkeypatch, "shop")
    assert run("undo", "back") == 0
    assert len(cli.created) == 1


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeObjects]:
    objects = FakeObjects(snapshot=[DONE], rollback=[rollback(None), rollback()])
    monkeypatch.setattr(options, "Objects", lambda *_: objects)
    monkeypatch.setattr(confirm, "is_interactive", lambda: True)
    return objects


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    asked: list[str] = []

    def answer(_: Console, question: str) -> str:
        asked.append(question)
        return text

    monkeypatch.setattr(confirm, "answer", answer)
    return asked


def test_a_preview_is_created_shown_and_removed(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preview", "osnap/before") == 0
    ((kind, body),) = cli.created
    assert kind is ROLLBACK
    parsed = RollbackSpec.model_validate(body["spec"])
    assert (parsed.dry_run, parsed.id, parsed.not_after) == (True, None, NEVER)
    assert body["metadata"]["generateName"] == "preview-before-"
    assert body["metadata"]["annotations"] == {"ocore.dev/temporary": "true"}
    assert cli.deleted == [(ROLLBACK, "preview-before-x7k2p")]
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "Nothing was changed.",
        "Work lost 1 h 30 min (from the point in time until now)",
        "10.0 GiB now, 9.0 GiB in the snapshot",
        "17.4 now, 17.2 in the snapshot",
        "231 files, 1.0 MiB, of 1381 files, 1.0 GiB",
        "shop:2 now, shop:1 in the snapshot",
        "abc, the same in the snapshot",
        "Neutralised yes, before the switchover",
        "1.0 GiB needed, 1.0 MiB free (TOO LITTLE)",
        "2 min 11 s (predicted from 3 earlier rollbacks)",
        "4.2 s (predicted from 3 earlier rollbacks)",
        "Figures The downtime includes the time that the application needs to stop: at most 35 s.",
        "Rows now (estimated) Rows in snapshot (counted)",
        "public.sale_order 1,200,000 1,100,000",
        "public.dropped no such table 7",
        "public.new 5 not in it",
        "Nothing was found that would refuse the rollback.",
    ):
        assert words in shown, words


def test_old_snapshots_show_that_nothing_was_counted() -> None:
    out = Console(file=io.StringIO(), width=120)
    data = {**REPORT, "database": {**REPORT["database"], "rowsCounted": False, "tables": [{"name": "public.a"}]}}
    preview.show(out, preview.Report("shop", "before", Preview.model_validate(data), ()), "text")
    assert isinstance(out.file, io.StringIO)
    assert "public.a unknown not counted" in " ".join(out.file.getvalue().split())


def test_a_duration_from_a_test_restore_says_so() -> None:
    out = Console(file=io.StringIO(), width=120)
    measured = {"durationSeconds": 131.0, "durationSource": "TestRestore"}
    data = Preview.model_validate({**REPORT, "prediction": measured})
    preview.show(out, preview.Report("shop", "before", data, ()), "text")
    assert isinstance(out.file, io.StringIO)
    assert "2 min 11 s (measured by the environment's newest test restore)" in " ".join(out.file.getvalue().split())


def test_json_has_every_field(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preview", "before", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {k: found[k] for k in ("environment", "snapshot", "warnings")} == {
        "environment": "shop", "snapshot": "before", "warnings": [],
    }  # fmt: skip
    assert Preview.model_validate(found) == Preview.model_validate(REPORT)


REFUSED = {
    **REPORT,
    "wouldRun": False,
    "refusals": [{"reason": "MissingGrants", "message": "ALTER ROLE."}, {"reason": "NoSpace", "message": "Full."}],
}


def test_all_refusals_are_shown_and_check_fails(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.states["rollback"] = [rollback(REFUSED)]
    assert run("preview", "before") == 0
    assert run("preview", "before", "--check") == 1
    shown = capsys.readouterr().out
    assert "Would be refused, MissingGrants: ALTER ROLE." in shown
    assert "Would be refused, NoSpace: Full." in shown
    assert "Nothing was found" not in shown


@pytest.mark.parametrize("answer", ["", "sho", "SHOP", "before", "y"])
def test_a_rollback_needs_the_environments_name(
    cli: FakeObjects, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    asked = typed(monkeypatch, answer)
    with pytest.raises(CliError, match="not rolled back"):
        run("rollback", "before")
    assert [body["spec"].get("dryRun") for _, body in cli.created] == [True]
    # The report was shown before the question.
    assert len(asked) == 1
    assert "Work lost" in capsys.readouterr().out


def test_the_name_starts_it(cli: FakeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "shop")
    assert run("rollback", "before", "--name", "back", "--undo-window", "60") == 0
    assert [body["spec"].get("dryRun") for _, body in cli.created] == [True, None]
    assert cli.created[0][1]["spec"]["undoWindowSeconds"] == 60
    assert cli.created[1][1]["metadata"]["name"] == "back"
    assert "notAfter" not in cli.created[1][1]["spec"]


def test_what_would_be_refused_is_not_even_asked(cli: FakeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.states["rollback"] = [rollback(REFUSED)]
    asked = typed(monkeypatch, "shop")
    with pytest.raises(CliError, match="would be refused"):
        run("rollback", "before")
    assert asked == []
    assert len(cli.created) == 1


def test_without_a_terminal_it_is_refused_unless_yes(cli: FakeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm, "is_interactive", lambda: False)
    with pytest.raises(CliError, match="add --yes"):
        run("rollback", "before")
    assert cli.created == []
    assert run("rollback", "before", "--yes") == 0
    assert [body["spec"].get("dryRun") for _, body in cli.created] == [None]


class Dropping(FakeObjects):
    """An API server whose CRD has no dryRun, and that drops what it does not know."""

    def create(self, kind: Any, body: Object) -> Object:
        made = super().create(kind, body)
        return {**made, "spec": {k: v for k, v in made["spec"].items() if k != "dryRun"}}


def test_a_crd_without_dry_run_never_runs_a_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Dropping(snapshot=[DONE])
    monkeypatch.setattr(options, "Objects", lambda *_: objects)
    with pytest.raises(CliError, match="no dryRun"):
        run("preview", "before")
    assert [name for _, name in objects.deleted] == ["preview-before-x7k2p"]
    # Also where it is not deleted in time: an operator refuses it.
    assert objects.created[0][1]["spec"]["notAfter"] == NEVER


def test_an_operator_that_does_not_know_it(cli: FakeObjects) -> None:
    failed = [condition("Failed", reason="Expired", message="notAfter has passed.")]
    cli.states["rollback"] = [rollback(None, phase="Failed", conditions=failed, failureReason="Expired")]
    with pytest.raises(CliError, match="made no preview"):
        run("preview", "before")
    assert len(cli.deleted) == 1


def test_no_report_in_time(cli: FakeObjects) -> None:
    cli.states["rollback"] = [rollback(None)]
    with pytest.raises(CliError, match="no preview within 1 s: Job preview-x-1 reads") as refused:
        run("preview", "before", "--timeout", "1")
    assert "It was removed" in str(refused.value)
    assert "Follow it" not in str(refused.value)
    assert len(cli.deleted) == 1


def test_one_that_cannot_be_removed_is_reported(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    def forbidden(*_: object) -> None:
        raise CliError("permission denied")

    cli.delete = forbidden  # type: ignore[method-assign]
    assert run("preview", "before") == 0
    captured = capsys.readouterr()
    assert "could not be deleted: permission denied" in captured.err
    assert "Work lost" in captured.out


def test_watch_shows_the_report(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("watch", "rollback/preview-before-x7k2p") == 0
    shown = capsys.readouterr().out
    assert "Nothing was changed." in shown
    assert "Pending" not in shown


def test_a_preview_has_no_evidence_and_no_steps(cli: FakeObjects) -> None:
    with pytest.raises(CliError, match="is a preview"):
        run("evidence", "rollback/preview-before-x7k2p")
    found = run_of(ROLLBACK, rollback())
    assert (found.outcome, found.steps, found.problems()) == ("Previewed", (), ())


def test_a_long_wait_says_what_for() -> None:
    times = iter([0.0, 1.0, 5.0, 6.0])
    out = Console(file=io.StringIO(), width=200)
    quiet = preview.Quiet(out, clock=lambda: next(times))
    for _ in range(3):
        quiet.show(run_of(ROLLBACK, rollback(None)))
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue().count("reads what a rollback would do") == 1
