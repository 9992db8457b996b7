"""Snapshot, restore, switch and cleanup by the command line, database and filestore together, for both layouts."""

import itertools
import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_crds.stored.rollback_record import RollbackRecord
from ocore_mover import report
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, call, finish, start, was_killed
from support.mover.desk import Desk
from support.mover.records import option, run_of
from support.mover.site import Site
from support.mover.waiting import until


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


@pytest.fixture
def desk_any(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


@pytest.fixture
def application(desk: Desk) -> Application:
    return Application(desk.site, desk.claim)


@pytest.fixture
def application_any(desk_any: Desk) -> Application:
    return Application(desk_any.site, desk_any.claim)


def steps(done: Finished) -> list[tuple[str, str]]:
    return [(r["step"], r["state"]) for r in done.reports if r["type"] == "step"]


def test_there_and_back(desk: Desk, application: Application, tmp_path: Path) -> None:
    application.write_many(60)
    config = tmp_path / "config"
    (config / "..data").mkdir(parents=True)
    (config / "..data" / "odoo.conf").write_text("[options]\nadmin_passwd = hunter2\n")
    (config / "odoo.conf").symlink_to("..data/odoo.conf")
    done = desk.ok("snapshot", "--config", str(config), "--verify", "Full")
    assert steps(done) == [
        ("Prepare", "Running"), ("Prepare", "Done"), *sorted_middle(done),
        ("CaptureConfig", "Running"), ("CaptureConfig", "Done"), ("Publish", "Running"), ("Publish", "Done"),
        ("Verify", "Running"), ("Verify", "Done"),
    ]  # fmt: skip
    payload = done.result["payload"]
    assert payload["readBack"] is True
    assert payload["filestoreFiles"] == 60
    assert any(
        "60 of 60 files that the dumped database names are in the copy" in p for p in payload["evidence"]["proven"]
    )
    assert payload["serverMajor"] == desk.site.server.major
    assert "odoo.conf line 2 (admin_passwd)" in " ".join(payload["evidence"]["warnings"])
    assert "hunter2" not in done.stdout + done.stderr
    assert desk.own_folders() == set()

    verified = desk.ok("verify", "--manifest-sha256", payload["manifestSha256"])
    assert verified.result["payload"]["bytesRead"] == payload["storedBytes"]
    inspected = call("inspect", *desk.which)
    assert inspected.result["payload"]["manifestSha256"] == payload["manifestSha256"]

    # Disaster: rows and files go, others come.
    desk.site.sql("DELETE FROM ir_attachment WHERE id % 2 = 0")
    with application.connect() as connection:
        for folder in application.filestore.iterdir():
            if folder.name.startswith(("1", "2", "3", "4", "5")):
                shutil.rmtree(folder)
        later = application.write(connection, "later", b"written after the snapshot")

    restored = desk.ok("restore")
    assert restored.result["payload"]["filesAdded"] > 0
    assert desk.site.sql("SELECT count(*) FROM ir_attachment")[0][0] == 31
    with application.connect() as connection:
        application.collect_garbage(connection)

    switched = desk.ok("switch", "--now").result["payload"]
    assert (switched["position"], switched["acceptingConnections"]) == ("New", True)
    assert desk.site.sql("SELECT count(*) FROM ir_attachment")[0][0] == 60
    assert application.missing() == []
    # The application's garbage collection after the switch takes what only the previous database names …
    with application.connect() as connection:
        for path in application.filestore.glob("??/*"):
            checklist = application.filestore / "checklist" / path.parent.name / path.name
            checklist.parent.mkdir(parents=True, exist_ok=True)
            checklist.touch()
        application.collect_garbage(connection)
    assert not (application.filestore / later).exists()
    # … and switching back brings it again.
    assert desk.ok("switch", "--back", "--now").result["payload"]["relinkedFiles"] > 0
    assert (application.filestore / later).exists()
    assert desk.site.sql("SELECT count(*) FROM ir_attachment")[0][0] == 31

    cleaned = desk.ok("cleanup", "--what", "restored").result["payload"]
    assert cleaned["databasesDropped"] == [desk.site.names.restored]
    assert desk.own_folders() == set()
    assert desk.site.databases() == {desk.site.live}
    assert desk.ok("delete").result["payload"]["objects"] > 0
    assert desk.stored() == []
    assert desk.run("verify").reason == "SnapshotNotFound"


def test_row_69_files_that_only_the_dropped_database_names_are_collected(
    desk_any: Desk, application_any: Application
) -> None:
    """155 leaked: Odoo's garbage collection reads its checklist only, on which a row that goes by a rollback never puts
    its file."""
    desk, application = desk_any, application_any
    application.write_many(20)
    desk.ok("snapshot")
    desk.site.sql("DELETE FROM ir_attachment WHERE id % 4 = 0")
    with application.connect() as connection:
        application.collect_garbage(connection)
        later = [application.write(connection, f"later{n}", f"written later {n}".encode()) for n in range(7)]
    desk.ok("restore")
    desk.ok("switch", "--now")
    with application.connect() as connection:  # a row of the live database names one of them by now
        application.write(connection, "again", b"written later 0")
    cleaned = desk.ok("cleanup", "--what", "previous").result["payload"]
    assert cleaned["filesListed"] == 6
    assert all(
        (application.filestore / name).exists() for name in later
    )  # the application deletes them, under its lock
    with application.connect() as connection:
        assert application.collect_garbage(connection) >= 6
    assert [(application.filestore / name).exists() for name in later] == [True] + [False] * 6
    assert application.missing() == []


def test_row_32_the_evidence_of_a_restore_outlives_its_snapshot(desk_any: Desk, application_any: Application) -> None:
    application_any.write_many(3)
    desk_any.ok("snapshot")
    run = run_of(desk_any.site.rollback_id, ENVIRONMENT)
    restored = desk_any.ok("restore", *option(run)).result["payload"]
    desk_any.ok("delete")
    (left,) = desk_any.stored()
    record = RollbackRecord.model_validate_json(left.read_text())
    assert (record.state, record.run) == ("restored", run)
    assert record.evidence is not None
    assert list(record.evidence.proven) == restored["evidence"]["proven"] != []
    (packs,) = [line for line in record.evidence.proven if line.startswith("packs: ")]
    assert re.search(r"\d read whole, SHA-256 of each checked; \d read in part \(.+\), SHA-(1|256) of each", packs)
    desk_any.ok("cleanup", "--what", "restored")


def test_what_users_wrote_before_a_switch_back_is_kept(desk: Desk, application: Application) -> None:
    """The restored copy was live for a while. After the switch back the previous application's garbage collection
    removes the files that only the copy names; they are kept with the copy until its cleanup."""
    application.write_many(5)
    desk.ok("snapshot")
    desk.ok("restore")
    desk.ok("switch", "--now")
    with application.connect() as connection:
        written = application.write(connection, "order.pdf", b"written by a user after the switch")
    desk.ok("switch", "--back", "--now")
    with application.connect() as connection:
        assert application.collect_garbage(connection) == 1
    assert not (application.filestore / written).exists()

    # A second switch by hand brings the database and the file back.
    desk.ok("switch", "--now")
    assert desk.site.sql("SELECT count(*) FROM ir_attachment")[0][0] == 6
    assert application.missing() == []
    assert (application.filestore / written).read_bytes() == b"written by a user after the switch"
    desk.ok("switch", "--back", "--now")
    desk.ok("cleanup", "--what", "restored")
    assert desk.own_folders() == set()


def test_a_switch_back_does_not_depend_on_the_restored_database(desk: Desk, application: Application) -> None:
    """Its attachments cannot be read: it is switched back all the same."""
    application.write_many(5)
    desk.ok("snapshot")
    desk.ok("restore")
    desk.ok("switch", "--now")
    desk.site.sql("ALTER TABLE ir_attachment RENAME TO broken")
    assert desk.ok("switch", "--back", "--now").result["payload"]["position"] == "Old"
    assert application.missing() == []
    desk.ok("cleanup", "--what", "restored")


def sorted_middle(done: Finished) -> list[tuple[str, str]]:
    """Dump and copy run at the same time: their lines in the order that they came, which is free. The freeze is a line
    of the copy."""
    found = [s for s in steps(done) if s[0] in ("DumpDatabase", "CopyFilestore")]
    assert sorted(found) == [
        *(("CopyFilestore", state) for state in ("Done", "Running", "Running")),
        *(("DumpDatabase", state) for state in ("Done", "Running")),
    ]
    return found


def test_plain_layout(site: Site, tmp_path: Path) -> None:
    desk = Desk(site, tmp_path, layout="Plain")
    live = desk.claim / desk.path
    (live / "a").mkdir()
    (live / "a/one.txt").write_text("one")
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    desk.ok("snapshot")
    (live / "a/one.txt").write_text("changed")
    (live / "two.txt").write_text("two")
    site.sql("UPDATE t SET a = 2")
    desk.ok("restore")
    assert (live / "a/one.txt").read_text() == "changed"
    desk.ok("switch", "--now")
    assert (live / "a/one.txt").read_text() == "one"
    assert not (live / "two.txt").exists()
    assert site.sql("SELECT a FROM t") == [(1,)]
    desk.ok("switch", "--back", "--now")
    assert (live / "a/one.txt").read_text() == "changed"
    desk.ok("switch", "--now")
    desk.ok("cleanup", "--what", "previous")
    assert (live / "a/one.txt").read_text() == "one"
    assert desk.own_folders() == set()


@pytest.mark.parametrize("failpoint", ["switch-renamed", "switch-refused", "switch-filestore-moved"])
def test_plain_layout_killed_between(site_any: Site, tmp_path: Path, failpoint: str) -> None:
    """Database and folder agree after the repair, whatever was killed."""
    desk = Desk(site_any, tmp_path, layout="Plain")
    live = desk.claim / desk.path
    (live / "which").write_text("snapshot")
    site_any.sql("CREATE TABLE t AS SELECT 'snapshot' AS which")
    desk.ok("snapshot")
    (live / "which").write_text("later")
    site_any.sql("UPDATE t SET which = 'later'")
    desk.ok("restore")
    assert was_killed(desk.armed("switch", f"{failpoint}=kill", "--now"))
    position = desk.ok("inspect", "--repair").result["payload"]["position"]
    expected = "later" if position == "Old" else "snapshot"
    assert (live / "which").read_text() == expected
    assert site_any.sql("SELECT which FROM t") == [(expected,)]


@pytest.mark.parametrize("killed", ["", "switch-ready", "switch-renamed"])
def test_row_142_one_process_restores_and_switches(site_any: Site, tmp_path: Path, killed: str) -> None:
    """The live database is as it was until the signal. Where the process dies, the next switch needs no restore."""
    desk = Desk(site_any, tmp_path, layout="Plain")
    live, ready, signal = desk.claim / desk.path, tmp_path / "ready", tmp_path / "signal"
    (live / "which").write_text("snapshot")
    site_any.sql("CREATE TABLE t AS SELECT 'snapshot' AS which")
    desk.ok("snapshot")
    (live / "which").write_text("later")
    site_any.sql("UPDATE t SET which = 'later'")
    wait = ("--signal-file", str(signal), "--ready-file", str(ready), "--signal-job", "restore-1", "--wait", "60")
    process = start(site_any, *desk.arguments("restore", *wait), failpoints=f"{killed}=kill" if killed else "")
    until(lambda: ready.exists() or (killed == "switch-ready" and process.poll() is not None), 60)
    assert site_any.sql("SELECT which FROM t") == [("later",)]
    order = {"action": "Switch", "job": "restore-1", "notAfter": time.time() + 60}
    signal.write_text(json.dumps(order))
    done = finish(process)
    assert "restored" in [r["type"] for r in done.reports]
    if killed:
        assert was_killed(done)
        assert desk.ok("switch", "--now").result["payload"]["position"] == "New"
    else:
        assert (done.result["payload"]["kind"], done.result["payload"]["position"]) == ("switch", "New")
    assert (live / "which").read_text() == "snapshot"
    assert site_any.sql("SELECT which FROM t") == [("snapshot",)]


def test_row_56_consistent_while_the_application_writes(desk: Desk, application: Application) -> None:
    """Short form of the consistency run: writes, deletes and garbage collection continue; not one file is missing."""
    application.write_many(300)
    stop = threading.Event()
    threads = [threading.Thread(target=application.load, args=(stop, seed)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        for _ in range(2):
            desk.snapshot_id = str(uuid.uuid4())
            desk.ok("snapshot")
            time.sleep(0.3)
        desk.ok("restore")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    with application.connect() as connection:
        application.collect_garbage(connection)
    desk.ok("switch", "--now")
    assert application.missing() == []
    assert desk.site.sql("SELECT count(*) FROM ir_attachment")[0][0] > 100


@pytest.mark.parametrize(
    "failpoint",
    ["snapshot-start", "snapshot-locked", "snapshot-frozen", "snapshot-dump-running", "after-upload-before-manifest"],
)
def test_a_killed_snapshot_is_none(desk_any: Desk, application_any: Application, failpoint: str) -> None:
    application_any.write_many(5)
    assert was_killed(desk_any.armed("snapshot", f"{failpoint}=kill"))
    assert call("inspect", *desk_any.which).reason == "SnapshotNotFound"
    # Nothing is held: garbage collection continues, and the next attempt takes the snapshot and what was left goes.
    with application_any.connect() as connection:
        application_any.collect_garbage(connection)
    desk_any.ok("snapshot", "--attempt", "2")
    assert desk_any.own_folders() == set()
    desk_any.ok("delete", "--attempts-only")
    named = {obj.key for obj in desk_any.manifest().objects()}
    assert {
        str(path.relative_to(desk_any.store)) for path in desk_any.stored() if path.name != "manifest.json"
    } == named
    assert list(desk_any.scratch.iterdir()) == []


def test_killed_after_the_manifest(desk_any: Desk, application_any: Application) -> None:
    """Complete, though no client got the answer: `inspect` says so, the same attempt once more too, another one does
    not mix in."""
    application_any.write_many(5)
    assert was_killed(desk_any.armed("snapshot", "after-manifest=kill"))
    found = call("inspect", *desk_any.which).result["payload"]
    assert desk_any.ok("snapshot").result["payload"]["manifestSha256"] == found["manifestSha256"]
    other = desk_any.run("snapshot", "--attempt", "2")
    assert (other.code, other.reason) == (1, "ManifestExists")
    desk_any.ok("verify")


@pytest.mark.parametrize("failpoint", ["snapshot-frozen", "after-upload-before-manifest"])
def test_a_failed_snapshot_leaves_nothing(desk_any: Desk, application_any: Application, failpoint: str) -> None:
    application_any.write_many(5)
    done = desk_any.armed("snapshot", f"{failpoint}=error")
    assert (done.code, done.reason) == (1, "InternalError")
    assert desk_any.stored() == []
    assert desk_any.own_folders() == set()


def test_sigterm_leaves_nothing(desk_any: Desk, application_any: Application) -> None:
    application_any.write_many(5)
    process = start(desk_any.site, *desk_any.arguments("snapshot"), failpoints="snapshot-frozen=sleep:2")
    end = time.monotonic() + 30
    while not desk_any.own_folders():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.terminate()
    done = finish(process, timeout=25)
    assert (done.code, done.reason) == (1, "Cancelled")
    assert desk_any.stored() == []
    assert desk_any.own_folders() == set()


@pytest.mark.parametrize(
    "failpoint",
    ["restore-start", "restore-hold-made", "restore-database-created", "restore-database-loaded", "restore-files-added",
     "restore-checked"],
)  # fmt: skip
def test_a_killed_restore_starts_again(desk_any: Desk, application_any: Application, failpoint: str) -> None:
    application_any.write_many(10)
    desk_any.ok("snapshot")
    desk_any.site.sql("DELETE FROM ir_attachment")
    assert was_killed(desk_any.armed("restore", f"{failpoint}=kill"))
    assert desk_any.site.accepts_connections()
    assert desk_any.ok("inspect", "--repair").result["payload"]["position"] == "Old"
    desk_any.ok("restore")
    desk_any.ok("switch", "--now")
    assert desk_any.site.sql("SELECT count(*) FROM ir_attachment")[0][0] == 10
    assert application_any.missing() == []


def test_a_failed_restore_is_taken_down(desk_any: Desk, application_any: Application) -> None:
    application_any.write_many(10)
    desk_any.ok("snapshot")
    done = desk_any.armed("restore", "restore-database-loaded=error")
    assert (done.code, done.reason) == (1, "InternalError")
    assert desk_any.site.databases() == {desk_any.site.live}
    assert desk_any.own_folders() == set()


def test_refuses_another_manifest(desk_any: Desk, application_any: Application) -> None:
    application_any.write_many(2)
    desk_any.ok("snapshot")
    done = desk_any.run("restore", "--manifest-sha256", "0" * 64)
    assert (done.code, done.reason) == (1, "Corrupt")
    assert desk_any.site.databases() == {desk_any.site.live}


def test_files_that_are_lost_already(desk_any: Desk, application_any: Application) -> None:
    names = application_any.write_many(10)
    (application_any.filestore / names[3]).unlink()
    desk_any.site.sql("INSERT INTO ir_attachment (store_fname) VALUES ('s3://elsewhere/key')")
    done = desk_any.run("snapshot")
    assert (done.code, done.reason) == (1, "AttachmentsMissing")
    assert names[3] in done.message
    done = desk_any.ok("snapshot", "--missing-files", "Report")
    evidence = done.result["payload"]["evidence"]
    assert evidence["missing"] == [names[3]]
    assert any("1 attachments have their contents neither in the database" in w for w in evidence["warnings"])
    desk_any.ok("restore")
    desk_any.ok("switch", "--now")
    assert application_any.missing() == [names[3]]


def test_row_88_attachments_outside_the_filestore_are_said_before_and_after(
    desk_any: Desk, application_any: Application
) -> None:
    """As modules of Odoo that write to S3 keep them. The snapshot is Complete, and no clean success."""
    application_any.write_many(3)
    assert desk_any.ok("probe").result["payload"]["database"].get("outsideAttachments", 0) == 0
    assert desk_any.ok("snapshot").result["payload"]["evidence"].get("incomplete", []) == []
    desk_any.snapshot_id = str(uuid.uuid4())
    desk_any.site.sql("INSERT INTO ir_attachment (store_fname) VALUES ('s3://elsewhere/key'), ('s3://elsewhere/other')")
    probed = desk_any.ok("probe").result["payload"]
    assert probed["database"]["outsideAttachments"] == 2
    assert any("2 or more attachments have their contents neither in the" in text for text in probed["warnings"])
    evidence = desk_any.ok("snapshot").result["payload"]["evidence"]
    assert evidence["incomplete"] == [OUTSIDE.format(2, "2 with a URI in store_fname")]
    desk_any.site.sql("ALTER TABLE ir_attachment DROP COLUMN id")
    assert desk_any.ok("probe").result["payload"]["database"].get("outsideAttachments", 0) == 0


OUTSIDE = (
    "{} attachments have their contents neither in the database nor in the filestore ({}), so they are not in the"
    " snapshot"
)


@pytest.mark.parametrize("layout", ["Odoo", "Plain"])
def test_row_88_whatever_module_has_written_the_row(site_any: Site, tmp_path: Path, layout: str) -> None:
    """As Odoo's own cloud_storage does: a type, a URL, and no store_fname. A link and an empty attachment have no
    contents; others are in the database, in db_datas or in a large object."""
    desk = Desk(site_any, tmp_path, layout=layout)
    Application(site_any, desk.claim).write_many(2)
    desk.site.sql(
        "ALTER TABLE ir_attachment ADD type varchar, ADD url varchar, ADD db_datas bytea, ADD large oid;"
        "UPDATE ir_attachment SET type = 'binary';"
        "INSERT INTO ir_attachment (type, url, store_fname, file_size, db_datas, large) VALUES"
        " ('cloud_storage', 'https://elsewhere.invalid/1', NULL, 0, NULL, NULL),"
        " ('cloud_storage', 'https://elsewhere.invalid/2', '', NULL, '', NULL),"
        " ('url', 'https://example.invalid/page', NULL, NULL, NULL, NULL),"
        " ('url', 'https://elsewhere.invalid/3', NULL, 10, NULL, NULL),"
        " ('binary', NULL, NULL, 10, NULL, NULL),"
        " ('binary', NULL, NULL, 0, NULL, NULL),"
        " ('binary', NULL, NULL, NULL, NULL, NULL),"
        " ('binary', NULL, NULL, 1, 'a', NULL),"
        " ('binary', NULL, NULL, 1, NULL, lo_from_bytea(0, 'a')),"
        " ('cloud_storage', 'https://elsewhere.invalid/4', NULL, 1, 'a', NULL),"
        " ('binary', NULL, 's3://elsewhere/key', 1, NULL, NULL)"
    )
    probed = desk.ok("probe").result["payload"]["database"]
    assert probed["outsideAttachments"] == 5
    evidence = desk.ok("snapshot").result["payload"]["evidence"]
    how = "1 with a URI in store_fname, 2 of another type than binary, 2 with a size and no contents"
    assert evidence["incomplete"] == [OUTSIDE.format(5, how)]
    database = desk.manifest().database
    assert database is not None
    assert database.outside_attachments == 5


def test_an_upgrade_in_progress_is_said(desk_any: Desk, application_any: Application) -> None:
    """Odoo finishes it at its next start on the snapshot."""
    application_any.write_many(1)
    desk_any.site.sql(
        "CREATE TABLE ir_module_module (name varchar, state varchar); INSERT INTO ir_module_module VALUES"
        " ('base', 'installed'), ('sale', 'to upgrade'), ('new', 'to install'), ('old', 'to remove'),"
        " ('other', 'uninstalled')"
    )
    assert any("3 modules are to be" in text for text in desk_any.ok("probe").result["payload"]["warnings"])
    payload = desk_any.ok("snapshot").result["payload"]
    assert payload["unfinishedModules"] == 3
    assert any("in the middle of an upgrade: 3 modules" in text for text in payload["evidence"]["warnings"])
    assert payload["evidence"]["incomplete"] == []


def test_row_74_a_torn_attachment_is_reported(desk_any: Desk, application_any: Application) -> None:
    """One file must not keep an environment from having any snapshot, where losses are to be reported."""
    names = application_any.write_many(5)
    (application_any.filestore / names[2]).write_bytes(b"torn")
    done = desk_any.run("snapshot")
    assert (done.code, done.reason) == (1, "AttachmentCorrupt")
    assert names[2] in done.message
    assert "missingFiles: Report" in done.message
    evidence = desk_any.ok("snapshot", "--missing-files", "Report").result["payload"]["evidence"]
    assert evidence["missing"] == [names[2]]
    assert any(
        "1 attachments are damaged in the filestore" in text and names[2] in text for text in evidence["warnings"]
    )
    assert any("4 of 5 files" in text for text in evidence["proven"])
    desk_any.ok("verify")
    desk_any.ok("restore")


@pytest.mark.parametrize("layout", ["Odoo", "Plain"])
def test_row_94_the_freeze_is_part_of_copying_and_no_total_grows(
    site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(report, "PROGRESS_INTERVAL", 0.0)
    desk = Desk(site_any, tmp_path, layout=layout)
    application = Application(site_any, desk.claim)
    application.write_many(200)
    full = desk.ok("snapshot")
    steps = [(line["step"], line["state"]) for line in full.reports if line["type"] == "step"]
    assert steps.index(("CopyFilestore", "Running")) == steps.index(("Prepare", "Done")) + 1
    begun = desk.snapshot_id
    desk.snapshot_id = str(uuid.uuid4())
    application.write_many(20)
    differential = desk.ok(
        *("snapshot", "--base-snapshot-id", begun, "--base-manifest-sha256", full.result["payload"]["manifestSha256"])
    )
    for done, files in ((full, 200), (differential, 220)):
        lines = [line for line in done.reports if line["type"] == "progress" and line["step"] == "CopyFilestore"]
        assert len(lines) > 1
        *under_way, last = lines
        assert {line.get("bytesTotal", 0) for line in under_way} == {0}
        assert (last["bytesDone"], last["filesDone"]) == (last["bytesTotal"], last["filesTotal"])
        assert last["filesDone"] == files * (1 if layout == "Odoo" else 2)  # and the names in checklist
        assert len({line["filesTotal"] for line in under_way if line["filesDone"]}) == 1


def test_a_database_without_attachments_has_no_odoo_layout(desk_any: Desk) -> None:
    desk_any.site.sql("CREATE TABLE other (id int)")
    done = desk_any.run("snapshot")
    assert (done.code, done.reason) == (1, "FilestoreLayoutUnsupported")
    found = desk_any.ok("probe").result["payload"]["blocking"]
    assert [f["reason"] for f in found] == ["FilestoreLayoutUnsupported"]


def test_probe_finds_nothing_in_the_way(desk: Desk, application: Application) -> None:
    application.write_many(3)
    payload = desk.ok("probe").result["payload"]
    assert payload.get("blocking", []) == []
    assert payload.get("rollback", []) == []
    database, filestore = payload["database"], payload["filestore"]
    assert (database["name"], database["attachments"]) == (desk.site.live, True)
    assert (filestore["fileCount"], filestore["hardLinks"]) == (3, True)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """No program of ours outlives its command."""
    yield
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        assert not any(word.endswith((b"pg_dump", b"pg_restore")) for word in words[:4]) or str(
            tmp_path
        ).encode() not in b" ".join(words)


def test_progress_is_honest(desk: Desk, application: Application) -> None:
    application.write_many(50)
    desk.site.sql("CREATE TABLE big AS SELECT i, md5(i::text) FROM generate_series(1, 100000) i")
    done = desk.ok("snapshot")
    lines = [r for r in done.reports if r["type"] == "progress"]
    for step in ("DumpDatabase", "CopyFilestore"):
        own = [r for r in lines if r["step"] == step]
        assert own[-1]["bytesDone"] == own[-1]["bytesTotal"] > 0, step
        assert all(a["bytesDone"] <= b["bytesDone"] for a, b in itertools.pairwise(own)), step
