"""Secrets never appear in what is written, and never change what the protocol says."""

import json
import logging
import typing
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from ocore_crds import protocol
from ocore_crds.protocol import (
    Failure,
    Finding,
    ProbeResult,
    ProgressReport,
    ReadyReport,
    Result,
    SnapshotResult,
    Step,
    StepReport,
    SwitchResult,
    parse_line,
)
from ocore_crds.stored.manifest import Evidence, Identity
from ocore_mover import redact
from ocore_mover.report import Reporter, configure_logging

ID = "0f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b"
TIME = "2026-01-31T23:59:59.000Z"
SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: Words of the protocol: keys, kinds, steps, states, reasons, parts of ids, digests, times and numbers.
HOSTILE = [
    "snapshot",
    "time",
    "type",
    "Running",
    "DumpDatabase",
    "NoSpace",
    "switch",
    "true",
    "0f2a1c3e",
    "5b6d-4e7f",
    "e3b0c44298fc",
    "2026-01-31",
    "12345",
    "message",
    '":{"',
    "environments/",
]


@pytest.fixture(autouse=True)
def no_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_secrets", [])


def lines() -> list[BaseModel]:
    """Reports of each kind, without free text."""
    identity = Identity(
        environment_id=ID, environment_name="shop", environment_type="production", project_id=ID, snapshot_id=ID
    )
    snapshot = SnapshotResult(
        attempt="12345",
        identity=identity,
        manifest_key=f"environments/{ID}/snapshots/{ID}/manifest.json",
        manifest_sha256=SHA,
        store_id=ID,
        started_at=TIME,
        consistent_at=TIME,
        completed_at=TIME,
        stored_bytes=12345,
        checksums={"manifest": SHA, "database": SHA},
        paths={"manifest": f"environments/{ID}/"},
    )
    return [
        StepReport(step=Step.DUMP_DATABASE, state="Running", time=TIME),
        ProgressReport(step=Step.DUMP_DATABASE, bytes_done=12345, bytes_total=123456, time=TIME),
        ReadyReport(time=TIME),
        Result(ok=True, payload=snapshot, time=TIME),
        Result(ok=True, payload=SwitchResult(position="New", live_database="snapshot"), time=TIME),
        Result(ok=False, failure=Failure(reason="NoSpace", message=""), time=TIME),
    ]


@pytest.mark.parametrize("password", HOSTILE)
def test_a_password_never_changes_the_protocol(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, password: str
) -> None:
    redact.register(password)
    termination = tmp_path / "termination"
    termination.touch()
    reporter = Reporter(termination)
    for line in lines():
        reporter.emit(line)  # type: ignore[arg-type]
        assert parse_line(capsys.readouterr().out) == line
    final = lines()[3]
    assert isinstance(final, Result)
    assert final.payload is not None
    reporter.succeed(final.payload)
    for text in (capsys.readouterr().out, termination.read_text()):
        found = parse_line(text)
        assert isinstance(found, Result)
        assert found.payload == final.payload


@pytest.mark.parametrize("password", HOSTILE)
def test_free_text_is_masked(capsys: pytest.CaptureFixture[str], tmp_path: Path, password: str) -> None:
    redact.register(password)
    text = f"could not connect with <{password}>"
    expected = "could not connect with <***>"
    termination = tmp_path / "termination"
    termination.touch()
    reporter = Reporter(termination)
    reporter.step(Step.PREPARE, "Failed", text)
    step = parse_line(capsys.readouterr().out)
    assert isinstance(step, StepReport)
    assert step.message == expected
    reporter.fail(Failure(reason="Internal", message=text))
    failed = parse_line(capsys.readouterr().out)
    assert isinstance(failed, Result)
    assert failed.failure is not None
    assert failed.failure.message == f"{expected}."
    assert json.loads(termination.read_text())["failure"]["message"] == f"{expected}."
    finding = Finding(reason="MissingGrants", message=text)
    Reporter(termination).succeed(ProbeResult(blocking=(finding,), rollback=(finding,), warnings=(text,)))
    probe = parse_line(capsys.readouterr().out)
    assert isinstance(probe, Result)
    assert isinstance(probe.payload, ProbeResult)
    assert probe.payload.warnings == (expected,)
    assert [f.message for f in (*probe.payload.blocking, *probe.payload.rollback)] == [f"{expected}."] * 2
    evidence = Evidence(required=(text,), proven=(text,), missing=(text,), incomplete=(text,), warnings=(text,))
    masked = redact.report(evidence.wire())
    assert masked == {key: [expected] for key in ("required", "proven", "missing", "incomplete", "warnings")}


def test_logs_are_masked_but_for_their_own_fields(capsys: pytest.CaptureFixture[str]) -> None:
    for password in ("warning", "level", "event", "p@ss/word"):
        redact.register(password)
    configure_logging()
    logging.getLogger("a.library").warning(
        "event %s", "one", extra={"detail": {"event": ["p@ss/word", 3, "p%40ss%2Fword"]}}
    )
    logged = json.loads(capsys.readouterr().err)
    assert logged["level"] == "warning"
    assert logged["event"] == "*** one"
    assert logged["detail"] == {"event": ["***", 3, "***"]}


def test_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, also where it is configured again: ours from INFO on, those of libraries from WARNING on.
    Tracebacks are masked."""
    redact.register("s3cr3t-of-the-trace")
    configure_logging(verbose=True)
    configure_logging()
    ours, library = logging.getLogger("ocore_mover.commands.switch"), logging.getLogger("botocore.retries")
    for logger in (ours, library):
        logger.debug("debug")
        logger.info("info")
        logger.warning("warning")
    try:
        int("s3cr3t-of-the-trace")
    except ValueError:
        ours.exception("failed")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["info", "warning", "warning", "failed"]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "error"]
    assert all(datetime.fromisoformat(line["timestamp"]).tzinfo is not None for line in lines)
    assert lines[-1]["exception"].endswith("invalid literal for int() with base 10: '***'")
    assert lines[-1].keys() == {"event", "level", "timestamp", "exception"}


#: Fields that hold no free text: ids, names, keys, digests, times, enumerations, versions.
FIXED = {
    *("attempt", "checksums", "clientVersion", "commitSha", "completedAt", "configSha256"),
    *("consistentAt", "databasesDropped"),
    *(
        "deploymentId",
        "environmentId",
        "environmentName",
        "extensions",
        "foldersRemoved",
        "setAside",
        "image",
        "imageDigest",
        "imageTag",
    ),
    *("baseSnapshotId", "publicKey", "jobKey", "recipients", "algorithm", "digest", "folder", "schema", "sha256"),
    "signer",
    *("key", "linesSha256", "next", "objectKey", "oldest", "pinLabel", "report", "server"),
    *("liveDatabase", "manifestKey", "manifestSha256", "name", "namespace", "owner", "paths"),
    *("plugin", "previousDatabase", "projectId", "publications", "reason", "requestedBy", "restoredDatabase"),
    *("schemaFingerprint", "serverIdentity", "slotName"),
    *(
        "serverVersion",
        "serverVersionNow",
        "serverVersionThen",
        "snapshotId",
        "snapshotName",
        "startedAt",
        "storeId",
        "time",
        "trigger",
        "until",
        "user",
    ),
}


def models(model: type[BaseModel], found: set[type[BaseModel]]) -> None:
    if model in found:
        return
    found.add(model)
    for info in model.model_fields.values():
        stack = [info.annotation]
        while stack:
            annotation = stack.pop()
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                models(annotation, found)
            stack.extend(typing.get_args(annotation))


def holds_text(annotation: object) -> bool:
    return annotation is str or any(
        holds_text(inner)
        for inner in typing.get_args(annotation)
        if typing.get_origin(annotation) is not typing.Literal
    )


def test_every_field_of_the_protocol_is_known() -> None:
    """A new field with text is either masked, or on the list above for a reason."""
    found: set[type[BaseModel]] = set()
    for report in typing.get_args(typing.get_args(protocol.Report)[0]):
        models(report, found)
    texts = {
        info.alias or name
        for model in found
        for name, info in model.model_fields.items()
        if holds_text(info.annotation)
    }
    assert texts == FIXED | redact.FREE_TEXT
    assert not FIXED & redact.FREE_TEXT
