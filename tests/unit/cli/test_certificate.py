"""`kubectl ocore certificate`: the certificate is valid only for the manifest that the Snapshot has now."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ocore_cli import certificate, options
from ocore_cli.errors import CliError
from ocore_crds.resources.restore_test import run_of
from support.cli import FakeObjects, Object, condition, run, snapshot

SHA = "a" * 64
TEST: Object = {
    "answered": ["0badcafe"],
    "testedAt": "2026-03-01T12:00:00Z",
    "manifestSha256": SHA,
    "durationSeconds": 75.0,
    "predictedRollbackSeconds": 61.5,
    "server": "db:5432",
    "serverVersion": "17.2",
    "databaseBytes": 4096,
    "tables": 4,
    "rows": 99,
    "indexes": 7,
    "constraints": 3,
    "attachments": 2,
    "files": 2,
    "fileBytes": 10,
    "bytes": 1000,
    "warnings": ["a warning"],
    "checked": ["structure: 7 valid indexes, 3 validated constraints"],
}


def proven(test: Object | None = TEST, phase: str = "Complete", status: str = "True", **more: Any) -> Object:
    conditions = [condition("Complete", reason="Succeeded")]
    if test is not None:
        conditions.append(condition("RestoreTested", status, "Succeeded"))
        more["restoreTest"] = test
    return snapshot(phase, conditions=conditions, manifestSha256=SHA, manifestKey="k/manifest.json", **more)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> FakeObjects:
    found = FakeObjects(snapshot=[proven()])
    monkeypatch.setattr(options, "Objects", lambda *_: found)
    return found


def test_a_valid_certificate(objects: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("certificate", "osnap/before") == 0
    text = capsys.readouterr().out
    for part in (
        SHA,
        "db:5432",
        "PostgreSQL 17.2",
        "4 tables with 99 rows",
        "Checked: structure: 7 valid indexes",
        "1 min 01 s",
        "a warning",
    ):
        assert part in text


def test_row_90_a_certificate_affirms_what_was_checked_only(
    objects: FakeObjects, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of layout Plain no one knows which files the database names."""
    plain = TEST | {"attachments": 0}
    objects.states["snapshot"] = [proven(plain)]
    assert run("certificate", "before") == 0
    assert "attachments" not in capsys.readouterr().out.lower()
    checked = {"checked": ["files: 2 files match"], "notChecked": ["whether the application starts"]}
    objects.states["snapshot"] = [proven(plain | checked)]
    assert run("certificate", "before") == 0
    text = capsys.readouterr().out
    assert "Checked: files: 2 files match" in text
    assert "Not checked: whether the application starts" in text
    assert "attachments" not in text.lower()


def test_it_names_who_can_open_the_snapshot(objects: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    for recipients, says in ((["age1a", "age1b"], "age1a, age1b"), ([], "recipients that are not known here")):
        objects.states["snapshot"] = [proven(encryption={"recipients": recipients})]
        assert run("certificate", "before") == 0
        assert f"Encrypted to: {says}" in " ".join(capsys.readouterr().out.split())
        assert run("certificate", "before", "-o", "json") == 0
        assert json.loads(capsys.readouterr().out)["snapshot"]["recipients"] == recipients


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({}, "its recipients only"),
        ({"jobKey": "age1j", "jobIdentitySecret": "made"}, "Jobs of its namespace with Secret made (mode Current)"),
        ({"jobKey": "age1j"}, "The Job identity that opened it is deleted"),
    ],
)
def test_it_says_whether_jobs_can_open_the_snapshot(
    objects: FakeObjects, capsys: pytest.CaptureFixture[str], held: Object, says: str
) -> None:
    objects.states["snapshot"] = [proven(encryption={"recipients": ["age1a"], **held})]
    assert run("certificate", "before") == 0
    assert says in " ".join(capsys.readouterr().out.split())
    assert run("certificate", "before", "-o", "json") == 0
    assert says in json.loads(capsys.readouterr().out)["snapshot"]["openedBy"]


def test_as_json(objects: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("certificate", "before", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["problem"], found["snapshot"]["manifestSha256"]) == (True, "", SHA)
    assert found["test"]["rows"] == 99


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (proven(None), "never been restored as a test"),
        (proven(TEST | {"manifestSha256": "b" * 64}), "another manifest"),
        (proven(TEST | {"findings": [{"reason": "Corrupt", "message": "pack-1"}]}, status="False"), "Corrupt: pack-1"),
        (proven(TEST, phase="Corrupt"), "cannot be restored any more"),
        (proven(TEST, status="Unknown"), "not True"),
    ],
)
def test_no_certificate(objects: FakeObjects, obj: Object, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    objects.states["snapshot"] = [obj]
    assert run("certificate", "before") == 1
    assert expected in capsys.readouterr().out
    assert run("certificate", "before", "-o", "json") == 1
    assert json.loads(capsys.readouterr().out)["valid"] is False


def test_how_to_get_one(objects: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    objects.states["snapshot"] = [proven(None)]
    run("certificate", "before")
    text = capsys.readouterr().out
    assert "kubectl ocore certificate before --now" in text
    assert "spec.verify.schedule" in text


def test_now_asks_and_waits(objects: FakeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    def annotations() -> dict[str, str]:
        ((_, _, body),) = objects.patched
        return dict(body["metadata"]["annotations"])

    def answered() -> Object:
        (text,) = annotations().values()
        return proven(TEST | {"answered": [run_of("annotation", text)]})

    states: list[Callable[[], Object]] = [lambda: proven(None), lambda: proven(None), answered]
    monkeypatch.setattr(objects, "get", lambda *_: (states.pop(0) if len(states) > 1 else states[0])())
    monkeypatch.setattr(certificate, "PAUSE", 0)
    assert run("certificate", "before", "--now") == 0
    assert list(annotations()) == ["ocore.dev/restore-test-requested"]


def test_now_of_what_cannot_be_tested(objects: FakeObjects) -> None:
    objects.states["snapshot"] = [snapshot("Failed")]
    with pytest.raises(CliError, match="only a Complete one"):
        certificate.request(objects, "before")


def test_the_time_to_wait_ends(objects: FakeObjects) -> None:
    objects.states["snapshot"] = [proven(None)]
    with pytest.raises(CliError, match="It continues"):
        certificate.wait(objects, "before", "0badcafe", 0)
