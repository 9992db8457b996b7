"""``snapshot --signal-file``: it freezes when the workloads are stopped, and reports when they may start again."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_crds.commands.parts import Signal, SignalWait
from ocore_mover.commands import snapshot as snapshot_command
from ocore_mover.commands.snapshot import SnapshotRun
from ocore_mover.errors import MoverError
from ocore_mover.signals import SignalFile
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, finish, parse, start, was_killed
from support.mover.desk import Desk
from support.mover.site import Site

FILES = 400


class InPlace:
    """An application that changes its files and its table in place all the time."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.count = 0
        site.sql("CREATE TABLE counter (value bigint)")
        site.sql("INSERT INTO counter VALUES (0)")
        self._write()

    def _write(self) -> None:
        self.count += 1
        for number in range(FILES):
            with os.fdopen(os.open(self.folder / f"{number:03d}", os.O_WRONLY | os.O_CREAT), "wb") as file:
                file.write(f"{self.count:08d}".encode() * 100)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._write()
            self.site.sql(f"UPDATE counter SET value = {self.count}")

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


class Operator:
    """Gives the signal and reads the answer, as the operator does."""

    def __init__(self, desk: Desk, folder: Path, *more: str, failpoints: str = "", wait: int = 60) -> None:
        self.signal_file, self.ready_file = folder / "signal", folder / "ready"
        options = ("--signal-file", str(self.signal_file), "--ready-file", str(self.ready_file), "--wait", str(wait))
        self.process = start(desk.site, *desk.arguments("snapshot", *more, *options), failpoints=failpoints)
        self.lines: list[str] = []

    def await_ready(self) -> None:
        end = time.monotonic() + 60
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)

    def signal(self, valid: float = 30, job: str = "") -> None:
        text = Signal(action="Freeze", job=job, not_after=time.time() + valid).model_dump_json(by_alias=True)
        temporary = self.signal_file.with_suffix(".new")  # the kubelet replaces it in one step
        temporary.write_text(text)
        temporary.rename(self.signal_file)

    def await_answer(self) -> list[tuple[str, str]]:
        """The steps that were reported before the workloads could start again."""
        assert self.process.stdout is not None
        seen: list[tuple[str, str]] = []
        for line in self.process.stdout:
            self.lines.append(line)
            report = json.loads(line)
            if report["type"] == "step":
                seen.append((report["step"], report["state"]))
            if seen[-1:] == [("Quiesce", "Done")]:
                return seen
        raise AssertionError(self.lines)

    def finish(self) -> Finished:
        stdout, stderr = self.process.communicate(timeout=120)
        return Finished(self.process.returncode, parse("".join(self.lines) + stdout), stdout, stderr)


@pytest.fixture
def in_place(site_any: Site, tmp_path: Path) -> Iterator[tuple[Desk, InPlace]]:
    desk = Desk(site_any, tmp_path, layout="Plain")
    application = InPlace(site_any, desk.claim / desk.path)
    yield desk, application
    application.stop()


def test_row_44_files_that_change_in_place_are_as_they_were_when_stopped(
    in_place: tuple[Desk, InPlace], tmp_path: Path
) -> None:
    """Strict. A link does not protect a file from a change in place, so the application is stopped until the files are
    copied."""
    desk, application = in_place
    application.start()
    operator = Operator(desk, tmp_path)
    operator.await_ready()
    time.sleep(0.3)
    assert desk.own_folders() == set()  # nothing is frozen beside the application
    application.stop()
    before, count = application.contents(), application.count
    operator.signal()
    seen = operator.await_answer()
    application.start()
    done = operator.finish()
    application.stop()
    assert done.code == 0, done.stdout + done.stderr
    assert seen.index(("CopyFilestore", "Running")) < seen.index(("Quiesce", "Done"))
    assert application.contents() != before
    assert any("stopped the workloads" in line for line in done.result["payload"]["evidence"]["proven"])
    desk.ok("restore")
    stage = next((desk.claim / ".ocore" / ENVIRONMENT).glob("stage-*"))
    assert {path.name: path.read_bytes() for path in stage.iterdir()} == before
    desk.site.sql(f"ALTER DATABASE {desk.site.names.restored} ALLOW_CONNECTIONS true", "postgres")
    assert desk.site.sql("SELECT value FROM counter", desk.site.names.restored) == [(count,)]


def test_the_same_application_fails_without_a_quiesce(in_place: tuple[Desk, InPlace]) -> None:
    desk, application = in_place
    application.start()
    assert desk.run("snapshot").reason == conditions.FILESTORE_CHANGING


def test_layout_odoo_resumes_when_the_links_are_made(site_any: Site, tmp_path: Path) -> None:
    """Its files never change, so the application runs again while they are copied."""
    desk = Desk(site_any, tmp_path)
    application = Application(site_any, desk.claim)
    application.write_many(50)
    operator = Operator(desk, tmp_path, failpoints="snapshot-pack-stored=sleep:3")
    operator.await_ready()
    assert desk.own_folders() == set()
    operator.signal()
    seen = operator.await_answer()
    assert desk.own_folders()  # frozen
    assert ("CopyFilestore", "Done") not in seen
    assert operator.process.poll() is None
    assert operator.finish().code == 0


def test_without_a_signal_nothing_is_frozen(site_any: Site, tmp_path: Path) -> None:
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(3)
    done = Operator(desk, tmp_path, wait=1).finish()
    assert done.reason == conditions.QUIESCE_FAILED
    assert done.result["failure"]["retryable"]
    assert desk.own_folders() == set()
    assert desk.stored() == []


def test_an_expired_signal_is_not_obeyed(site_any: Site, tmp_path: Path) -> None:
    """The operator may have started the workloads again."""
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(3)
    operator = Operator(desk, tmp_path)
    operator.signal(valid=-1)
    done = operator.finish()
    assert done.reason == conditions.QUIESCE_FAILED
    assert "expired" in done.message
    assert desk.stored() == []


OTHER_JOB = '{"action":"Freeze","job":"snapshot-1","notAfter":99999999999}'


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"action":"Switch","notAfter":99999999999}', OTHER_JOB])
def test_what_is_no_signal_is_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "signal"
    found = SignalFile(SignalWait(signal_file=str(path)), "Freeze")
    assert found.read() is None
    path.write_text(text)
    assert found.read() is None


def test_row_142_a_forged_signal_freezes_nothing(site_any: Site, tmp_path: Path) -> None:
    """One that does not name the Job is not of the operator, which has stopped no workload."""
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(3)
    operator = Operator(desk, tmp_path, "--signal-job", "snapshot-1", wait=1)
    operator.signal(job="snapshot-2")
    done = operator.finish()
    assert done.reason == conditions.QUIESCE_FAILED
    assert "no signal to freeze arrived" in done.message
    assert desk.stored() == []


@pytest.mark.parametrize("failpoint", ["snapshot-waiting", "snapshot-may-resume"])
def test_killed_in_a_quiesce(site_any: Site, tmp_path: Path, failpoint: str) -> None:
    """It leaves no snapshot, and no answer that the workloads may start: the operator starts them when the Job has
    ended."""
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(3)
    operator = Operator(desk, tmp_path, failpoints=f"{failpoint}=kill")
    if failpoint == "snapshot-may-resume":
        operator.await_ready()
        operator.signal()
    done = operator.finish()
    assert was_killed(done)
    assert '"Quiesce","state":"Done"' not in done.stdout
    assert not list(desk.store.rglob("manifest.json"))
    done = finish(start(site_any, *desk.arguments("snapshot")))
    assert done.code == 0, done.stdout


@pytest.mark.parametrize("resumed", [False, True])
def test_no_second_try_beside_the_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resumed: bool) -> None:
    """Once the workloads may run again, another database snapshot would not be a quiesced one."""
    run = SnapshotRun.__new__(SnapshotRun)
    tries = []

    class Request:
        quiesce = SignalWait(signal_file=str(tmp_path))

    class Runtime:
        class token:  # noqa: N801
            cancelled = False

    def take_once() -> None:
        tries.append(1)
        run._may_resume = resumed
        raise MoverError(conditions.FILESTORE_CHANGING, "changed", retryable=True)

    for name, value in (("_request", Request), ("_runtime", Runtime), ("_may_resume", False)):
        setattr(run, name, value)
    monkeypatch.setattr(run, "_take_once", take_once)
    monkeypatch.setattr(run, "_remove_leftovers", lambda: None)
    with pytest.raises(MoverError):
        run._take()
    assert len(tries) == (1 if resumed else snapshot_command.TRIES)
