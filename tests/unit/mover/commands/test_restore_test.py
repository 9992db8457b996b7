"""`test-restore` with a real server: a snapshot is restored into a scratch database that no one enters, every figure is
checked, and it is dropped."""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ocore_crds import naming
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, call, finish, start, was_killed
from support.mover.desk import Desk
from support.mover.postgres_majors import Server, create_role, write_secret
from support.mover.site import Site
from support.mover.waiting import until

CAPACITY = ("--capacity", str(10**12))


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


@pytest.fixture
def desk_any(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


def arguments(desk: Desk, *more: str) -> list[str]:
    own = ["--database", str(desk.site.secret), "--scratch", str(desk.scratch)]
    return ["test-restore", *desk.which, *own, *CAPACITY, *more]


def proof_of(desk: Desk, *more: str) -> dict[str, object]:
    done = call(*arguments(desk, *more))
    assert done.code == 0, done.stdout + done.stderr
    return dict(done.result["payload"])


def reasons(payload: dict[str, object]) -> list[str]:
    findings = payload.get("findings") or []
    assert isinstance(findings, list)
    return [f["reason"] for f in findings]


def message(payload: dict[str, object]) -> str:
    return json.dumps(payload.get("findings"))


def scratch_name(site: Site) -> str:
    return naming.restore_test_database(site.live, naming.restore_test_id(ENVIRONMENT))


def live_state(site: Site, claim: Path) -> object:
    """All that a test restore must not change."""
    rows = site.sql("SELECT id, name, store_fname FROM ir_attachment ORDER BY id")
    comment = site.server.execute(
        "SELECT oid, datacl, datdba, datallowconn, shobj_description(oid, 'pg_database') FROM pg_database"
        f" WHERE datname = '{site.live}'"
    )
    tables = site.sql("SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY 1")
    files = {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in claim.rglob("*")}
    return rows, comment, tables, files


def nothing_left(desk: Desk) -> None:
    assert desk.site.databases() == {desk.site.live}
    assert desk.site.server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore\\_rb\\_%'") == []
    assert list(desk.scratch.iterdir()) == []
    assert desk.own_folders() == set()


def edit_manifest(desk: Desk, change: Callable[[dict[str, object]], None]) -> None:
    path = next(desk.store.rglob("manifest.json"))
    data = json.loads(path.read_text())
    change(data)
    path.chmod(0o600)
    path.write_text(json.dumps(data))


def test_a_good_snapshot_passes_and_nothing_changes(desk: Desk, tmp_path: Path) -> None:
    application = Application(desk.site, desk.claim)
    application.write_many(40)
    desk.site.sql('CREATE SCHEMA "Odd.Schema"')
    desk.site.sql('CREATE TABLE "Odd.Schema"."ta""ble; DROP" (a int PRIMARY KEY CHECK (a > 0))')
    desk.site.sql('INSERT INTO "Odd.Schema"."ta""ble; DROP" SELECT generate_series(1, 7)')
    desk.site.sql("CREATE TABLE parts (a int) PARTITION BY RANGE (a)")
    desk.site.sql("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)")
    desk.site.sql("INSERT INTO parts VALUES (1), (2)")
    snapshot = desk.ok("snapshot").result["payload"]
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "positive.sql").write_text("SELECT id FROM ir_attachment WHERE file_size < 0; SELECT 1 WHERE false")
    before = live_state(desk.site, desk.claim)

    found = proof_of(desk, "--assertions", str(queries), "--manifest-sha256", snapshot["manifestSha256"])
    assert reasons(found) == []
    assert found["manifestSha256"] == snapshot["manifestSha256"]
    assert (found["tables"], found["rows"]) == (3, 49)
    assert (found["attachments"], found["files"]) == (40, 40)
    assert found["fileBytes"] == snapshot["filestoreBytes"]
    assert found["bytes"] == snapshot["storedBytes"]
    assert found["queries"] == 1
    assert found["indexes"] == 3  # one of a TOAST table
    assert found["constraints"] == 3
    assert str(found["serverVersion"]).startswith(str(desk.site.server.major))
    # To a hundredth: a part of so little data can take less.
    assert all(found[each] >= 0 for each in ("loadSeconds", "checkSeconds", "filesSeconds"))
    assert found["loadSeconds"] > 0
    assert live_state(desk.site, desk.claim) == before
    nothing_left(desk)


def test_plain_layout_and_no_database(site_any: Site, tmp_path: Path) -> None:
    desk = Desk(site_any, tmp_path, layout="Plain")
    live = desk.claim / desk.path
    (live / "a").mkdir()
    (live / "a/one.txt").write_text("one")
    (live / "link").symlink_to("a/one.txt")
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    desk.ok("snapshot")
    found = proof_of(desk)
    assert (reasons(found), found["files"], found["attachments"], found["rows"]) == ([], 1, 0, 1)
    damage(next(desk.store.rglob("pack-*")))
    assert reasons(proof_of(desk)) == ["Corrupt"]


def kinds(found: dict[str, object]) -> list[str]:
    return [str(text).partition(":")[0] for text in found["checked"]]  # type: ignore[attr-defined]


def test_row_90_what_was_checked_and_what_cannot_be(desk: Desk, tmp_path: Path) -> None:
    application = Application(desk.site, desk.claim)
    names = application.write_many(3)
    (application.filestore / names[0]).unlink()
    desk.site.sql("INSERT INTO ir_attachment (store_fname) VALUES ('s3://elsewhere/key')")
    desk.ok("snapshot", "--missing-files", "Report")
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "own.sql").write_text("SELECT 1 WHERE false")
    found = proof_of(desk, "--assertions", str(queries))
    assert kinds(found) == ["files", "database", "rows", "attachments", "the application's own checks"]
    assert found["notChecked"] == [
        "1 attachments have their contents neither in the database nor in the filestore (1 with a URI in store_fname),"
        " so they are not in the snapshot",
        "1 files that were lost or damaged when the snapshot was taken",
        "whether the application starts with the restored data",
    ]
    (queries / "own.sql").write_text("SELECT 1")
    assert kinds(proof_of(desk, "--assertions", str(queries))) == ["files", "database", "rows", "attachments"]
    without = proof_of(desk)
    assert kinds(without) == ["files", "database", "rows", "attachments"]
    assert any("own rules" in text for text in without["notChecked"])  # type: ignore[attr-defined]


def test_row_90_of_layout_plain_no_attachment_is_affirmed(site_any: Site, tmp_path: Path) -> None:
    desk = Desk(site_any, tmp_path, layout="Plain")
    (desk.claim / desk.path / "one.txt").write_text("one")
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    desk.ok("snapshot")
    found = proof_of(desk)
    assert kinds(found) == ["files", "database", "rows"]
    assert any("layout Plain" in text for text in found["notChecked"])  # type: ignore[attr-defined]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


def test_a_table_that_is_short(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(5)
    desk_any.ok("snapshot")

    def change(data: dict[str, object]) -> None:
        rows = data["database"]["tableRows"]  # type: ignore[index]
        rows["public.ir_attachment"] = 6
        rows["public.gone"] = 2

    edit_manifest(desk_any, change)
    found = proof_of(desk_any)
    assert reasons(found) == ["VerificationFailed"]
    assert "table public.ir_attachment has 5 rows; the dump has 6" in message(found)
    assert "table public.gone does not exist" in message(found)
    assert found["attachments"] == 5  # the other checks ran
    nothing_left(desk_any)


def test_a_damaged_pack_and_a_damaged_dump(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(5)
    desk_any.ok("snapshot")
    pack = next(desk_any.store.rglob("pack-*"))
    damage(pack)
    found = proof_of(desk_any)
    assert reasons(found) == ["Corrupt"]
    assert found["rows"] == 5  # the database was restored all the same
    damage(pack)
    assert reasons(proof_of(desk_any)) == []
    dump = max((p for p in desk_any.store.rglob("*.dat*")), key=lambda p: p.stat().st_size)
    damage(dump)
    assert reasons(proof_of(desk_any)) == ["Corrupt"]
    dump.chmod(0o600)
    dump.unlink()
    assert reasons(proof_of(desk_any)) == ["Corrupt"]
    nothing_left(desk_any)


def test_another_manifest_than_the_one_that_is_known(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    assert reasons(proof_of(desk_any, "--manifest-sha256", "0" * 64)) == ["Corrupt"]
    next(desk_any.store.rglob("manifest.json")).unlink()
    assert reasons(proof_of(desk_any)) == ["SnapshotNotFound"]


def test_an_attachment_that_the_snapshot_does_not_have(desk_any: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    application = Application(desk_any.site, desk_any.claim)
    application.write_many(8)
    desk_any.ok("snapshot")
    # As a snapshot of a faulty version: a row was dumped whose file is not in the copy, another file is in it.
    from ocore_mover.commands import test_restore

    real = test_restore.copy_names

    class Names:
        def __init__(self, *given: object) -> None:
            self._inner = real(*given)  # type: ignore[arg-type]

        def __enter__(self) -> object:
            return iter(sorted([*self._inner.__enter__(), "ab/ab" + "0" * 38]))

        def __exit__(self, *given: object) -> object:
            return self._inner.__exit__(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(test_restore, "copy_names", Names)
    found = proof_of(desk_any)
    assert reasons(found) == ["AttachmentsMissing"]
    assert "ab/ab" + "0" * 38 in message(found)


def test_a_file_that_no_row_names(desk_any: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Application(desk_any.site, desk_any.claim).write_many(8)
    desk_any.ok("snapshot")
    from ocore_mover.commands import test_restore

    real = test_restore.spooled
    monkeypatch.setattr(test_restore, "spooled", lambda names, folder: real(list(names)[1:], folder))
    found = proof_of(desk_any)
    assert reasons(found) == ["VerificationFailed"]
    assert "does not name" in message(found)


def test_an_invalid_index(desk_any: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Application(desk_any.site, desk_any.claim).write_many(2)
    desk_any.ok("snapshot")
    from ocore_mover.commands import test_restore

    real = test_restore.check.check

    def breaking(access: object, *rest: object) -> object:
        desk_any.site.server.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.ir_attachment_pkey'::regclass",
            scratch_name(desk_any.site),
        )
        return real(access, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(test_restore.check, "check", breaking)
    found = proof_of(desk_any)
    assert reasons(found) == ["VerificationFailed"]
    assert "ir_attachment_pkey" in message(found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1 AS wrong", r'returned 1 row; run its queries to see which\."'),
        ("DELETE FROM ir_attachment", "could not be run: .* read-only transaction"),
        (
            "SELECT missing",
            (
                r"could not be run: .* does not exist\. Correct the ConfigMap of spec\.verify\.assertions of the"
                r" SnapshotPolicy\."
            ),
        ),
        ("-- nothing", r"has no query\. Correct the ConfigMap of "),
    ],
)
def test_an_assertion_that_does_not_hold(desk_any: Desk, tmp_path: Path, query: str, expected: str) -> None:
    Application(desk_any.site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "own.sql").write_text(query)
    found = proof_of(desk_any, "--assertions", str(queries))
    assert reasons(found) == ["AssertionFailed"]
    assert re.search(expected, message(found))
    nothing_left(desk_any)


def test_no_space_is_refused_before_anything_is_created(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    base = [a for a in arguments(desk_any) if a not in CAPACITY]
    unknown = call(*base)
    assert (unknown.reason, "spec.database.capacity" in unknown.message) == ("CapacityUnknown", True)
    full = call(*base, "--capacity", "1000000")
    assert (full.reason, "verify.server" in full.message) == ("InsufficientCapacity", True)
    created = [r for done in (unknown, full) for r in done.reports if r.get("step") == "RestoreDatabase"]
    assert created == []
    nothing_left(desk_any)


def test_missing_rights_are_no_verdict(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    desk_any.site.server.execute(f'ALTER ROLE "{desk_any.site.role.name}" NOCREATEDB')
    done = call(*arguments(desk_any))
    assert done.reason == "MissingGrants"


def test_a_killed_test_is_dropped_by_the_next_one_and_by_a_rollback(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(3)
    desk_any.ok("snapshot")
    name, server = scratch_name(desk_any.site), desk_any.site.server

    def kill() -> None:
        """The server may notice a moment later that its client has gone: until then that holds its lock."""
        assert was_killed(finish(start(desk_any.site, *arguments(desk_any), failpoints="test-restore-loaded=kill")))
        assert name in desk_any.site.databases()
        until(lambda: not server.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'"), 60)

    kill()
    assert reasons(proof_of(desk_any)) == []
    nothing_left(desk_any)
    kill()
    desk_any.ok("restore")
    assert name not in desk_any.site.databases()
    desk_any.ok("cleanup", "--what", "restored")
    kill()
    desk_any.ok("cleanup", "--what", "restored")
    nothing_left(desk_any)


def waiting(desk: Desk, *more: str, seconds: int = 30) -> tuple[threading.Thread, list[Finished]]:
    """A test that stops for a while once its database is loaded. Returns as soon as that database exists."""
    process = start(desk.site, *arguments(desk, *more), failpoints=f"test-restore-loaded=sleep:{seconds}")
    found: list[Finished] = []
    thread = threading.Thread(target=lambda: found.append(finish(process)))
    thread.start()
    for _ in range(600):
        rows = desk.site.server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{scratch_name(desk.site)}'")
        if rows:
            break
        time.sleep(0.1)
    assert rows, "the scratch database was not created"
    return thread, found


def test_no_one_enters_the_scratch_database(desk_any: Desk, tmp_path: Path) -> None:
    """With an administrator it is closed for the application's role from its creation until it is dropped."""
    site = desk_any.site
    Application(site, desk_any.claim).write_many(3)
    desk_any.ok("snapshot")
    admin = create_role(site.server, f"admin-{site.live}", "SUPERUSER")
    secret = write_secret(tmp_path / "admin", site.server, admin, "postgres")
    stop, entered = threading.Event(), []

    def enter() -> None:
        while not stop.is_set():
            try:
                with site.server.connect(scratch_name(site), site.role.name, site.role.password):
                    entered.append(time.monotonic())
            except psycopg.OperationalError:
                time.sleep(0.005)

    watcher = threading.Thread(target=enter)
    watcher.start()
    try:
        assert reasons(proof_of(desk_any, "--admin", str(secret))) == []
    finally:
        stop.set()
        watcher.join()
    assert entered == []
    nothing_left(desk_any)


def test_a_rollback_ends_a_test_that_runs(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(3)
    desk_any.ok("snapshot")
    thread, found = waiting(desk_any, seconds=4)
    desk_any.ok("restore")
    thread.join()
    (ended,) = found
    # No verdict about the snapshot, wherever the test was.
    assert (ended.code, ended.result["failure"]["retryable"]) == (1, True)
    assert scratch_name(desk_any.site) not in desk_any.site.databases()
    desk_any.ok("cleanup", "--what", "restored")
    nothing_left(desk_any)


def test_a_hostile_dump_harms_neither_the_verdict_nor_the_live_database(desk_any: Desk) -> None:
    """Code of the dump runs with the application's rights, in the scratch database."""
    site = desk_any.site
    application = Application(site, desk_any.claim)
    application.write_many(3)
    site.sql("CREATE TABLE log (a text)")
    site.sql(
        "CREATE FUNCTION noisy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.log; RETURN NEW;"
        " END $$"
    )
    site.sql("CREATE TRIGGER t BEFORE INSERT ON ir_attachment FOR EACH ROW EXECUTE FUNCTION noisy()")
    site.sql("INSERT INTO log VALUES ('kept'), (E'two\\nlines')")
    site.sql("CREATE FUNCTION public.count(int) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'")
    site.sql("CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)")
    desk_any.ok("snapshot")
    before = live_state(site, desk_any.claim)
    found = proof_of(desk_any)
    assert (reasons(found), found["rows"]) == ([], 5)
    assert live_state(site, desk_any.claim) == before


def test_a_separate_server(server_any: Server, desk_any: Desk, tmp_path: Path) -> None:
    """The environment's roles and databases do not exist there; here it is the same process with another role."""
    site = desk_any.site
    Application(site, desk_any.claim).write_many(4)
    site.sql("GRANT SELECT ON ir_attachment TO PUBLIC")
    desk_any.ok("snapshot")
    tester = create_role(server_any, f"tester-{site.live}", "CREATEDB")
    secret = write_secret(tmp_path / "tester", server_any, tester, "postgres")
    (secret / "dbname").unlink(missing_ok=True)
    base = ["test-restore", *desk_any.which, "--scratch", str(desk_any.scratch), "--separate-server"]
    done = call(*base, "--database", str(secret))
    assert done.code == 0, done.stdout
    payload = done.result["payload"]
    assert payload.get("findings", []) == []
    assert (payload["rows"], payload["separateServer"], payload["attachments"]) == (4, True, 4)
    assert list(server_any.execute("SELECT datname FROM pg_database WHERE datname LIKE 'ocore%'")) == []

    superuser = create_role(server_any, f"super-{site.live}", "SUPERUSER")
    refused = call(*base, "--database", str(write_secret(tmp_path / "super", server_any, superuser, "postgres")))
    assert refused.reason == "SecretInvalid"
    assert re.search("ordinary role", refused.message)


def test_a_differential_is_restored_from_two_sets(desk_any: Desk) -> None:
    """Its own packs and those of its base are read, so damage in the base is found, too."""
    application = Application(desk_any.site, desk_any.claim)
    application.write_many(40)
    full, base = desk_any.ok("snapshot").result["payload"], desk_any.snapshot_id
    application.write_many(2)
    desk_any.snapshot_id = str(uuid.uuid4())
    own = desk_any.ok("snapshot", "--base-snapshot-id", base, "--base-manifest-sha256", full["manifestSha256"]).result[
        "payload"
    ]
    assert own["baseSnapshotId"] == base
    found = proof_of(desk_any)
    assert (reasons(found), found["files"], found["attachments"]) == ([], 42, 42)
    assert found["bytes"] > own["storedBytes"]
    damage(next(path for path in desk_any.store.rglob("pack-*") if base in str(path)))
    assert reasons(proof_of(desk_any)) == ["Corrupt"]
    nothing_left(desk_any)
