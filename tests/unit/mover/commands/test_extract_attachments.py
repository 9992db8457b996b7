"""`extract` of attachments by model, record and name, out of a real dump: only toc.dat, the rows of ir_attachment, the
index and the needed frames are read."""

import io
import tarfile
import uuid
from pathlib import Path

import pytest

from support.mover.application import Application
from support.mover.beside import Finished, call
from support.mover.desk import Desk
from support.mover.site import Site


@pytest.fixture
def desk(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


def extract(desk: Desk, *more: str) -> Finished:
    return call("extract", *desk.which, "--extract-id", str(uuid.uuid4()), *more)


def files(desk: Desk, done: Finished) -> dict[str, bytes]:
    assert done.code == 0, done.stdout + done.stderr
    data = (desk.store / done.result["payload"]["extracted"]["key"]).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]


def test_an_attachment_by_what_a_user_knows(desk: Desk) -> None:
    application = Application(desk.site, desk.claim, desk.path)
    with application.connect() as connection:
        for name, content in (("contract.pdf", b"the contract"), ("photo.png", b"a photo"), ("other.txt", b"other")):
            application.write(connection, name, content)
        connection.execute("ALTER TABLE ir_attachment ADD res_model varchar, ADD res_id int")
        connection.execute("UPDATE ir_attachment SET res_model = 'res.partner', res_id = 7 WHERE name <> 'other.txt'")
        connection.execute("UPDATE ir_attachment SET res_model = 'res.users', res_id = 7 WHERE name = 'other.txt'")
        connection.execute("INSERT INTO ir_attachment (name, res_model, res_id) VALUES ('link', 'res.partner', 8)")
        connection.execute(
            "CREATE TABLE ballast AS SELECT g, repeat(md5(g::text), 20) AS t FROM generate_series(1, 20000) g"
        )
        ids = dict(connection.execute("SELECT name, id FROM ir_attachment").fetchall())
        connection.commit()
    desk.ok("snapshot")

    one = extract(desk, "--model", "res.partner", "--record", "7", "--name", "contract.pdf")
    assert files(desk, one) == {f"{ids['contract.pdf']}-contract.pdf": b"the contract"}
    read, dump = one.result["payload"]["extracted"]["bytesRead"], desk.manifest().database
    assert dump is not None
    assert read < sum(obj.size for obj in dump.files) / 2
    both = extract(desk, "--model", "res.partner", "--record", "7")
    assert files(desk, both) == {
        f"{ids['contract.pdf']}-contract.pdf": b"the contract",
        f"{ids['photo.png']}-photo.png": b"a photo",
    }
    none = extract(desk, "--model", "res.partner", "--record", "9")
    assert none.reason == "FilesNotFound"
    assert "record 9 of model res.partner" in none.message
    link = extract(desk, "--model", "res.partner", "--record", "8")
    assert link.reason == "FilesNotFound"
    assert "in the database, or is a link" in link.message


def test_a_lost_attachment_does_not_keep_the_others_back(desk: Desk) -> None:
    application = Application(desk.site, desk.claim, desk.path)
    with application.connect() as connection:
        for name in ("kept.pdf", "lost.pdf"):
            application.write(connection, name, name.encode())
        connection.execute("ALTER TABLE ir_attachment ADD res_model varchar, ADD res_id int")
        connection.execute("UPDATE ir_attachment SET res_model = 'res.partner', res_id = 7")
        ids = dict(connection.execute("SELECT name, id FROM ir_attachment").fetchall())
        lost = connection.execute("SELECT store_fname FROM ir_attachment WHERE name = 'lost.pdf'").fetchone()
        connection.commit()
    assert lost is not None
    (desk.claim / desk.path / str(lost[0])).unlink()
    desk.ok("snapshot", "--missing-files", "Report")
    done = extract(desk, "--model", "res.partner", "--record", "7")
    assert files(desk, done) == {f"{ids['kept.pdf']}-kept.pdf": b"kept.pdf"}
    found = done.result["payload"]["extracted"]
    assert (found["missing"], found["missingNames"]) == (1, [f"{ids['lost.pdf']}-lost.pdf"])
    alone = extract(desk, "--model", "res.partner", "--record", "7", "--name", "lost.pdf")
    assert alone.reason == "FilesNotFound"
