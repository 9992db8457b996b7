"""``kubectl ocore ls`` and ``cp``: an Extract, and one GET with the caller's own keys."""

import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ocore_cli import extracts, s3, selection
from ocore_cli.app import app
from ocore_cli.errors import CliError, Denied, Refused
from ocore_crds.kinds import EXTRACT
from ocore_crds.reports.extracted import WantedTable
from ocore_crds.resources.snapshotstore import S3
from support.cli import DONE, FakeObjects, Object, condition
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS

KEYS = s3.Credentials("AKID", "secret/+key")
STORE: Object = {"metadata": {"name": "store"}, "spec": {"s3": {"bucket": BUCKET, "prefix": "shop"}}}
SNAPSHOT: Object = {**DONE, "status": {**DONE["status"], "storeName": "store"}}


def tar(**files: bytes) -> bytes:
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("papers/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        if "papers__a" in files:
            archive.addfile(link)
    return text.getvalue()


def complete(data: bytes, **result: Any) -> Object:
    found = {"key": "environments/e/extracts/x/files.tar", "sha256": hashlib.sha256(data).hexdigest(), **result}
    status = {"phase": "Complete", "storeName": "store", "result": found, "conditions": [condition("Complete")]}
    return {"metadata": {"name": "x"}, "spec": {}, "status": status}


def objects(data: bytes, **result: Any) -> FakeObjects:
    return FakeObjects(snapshot=[SNAPSHOT], snapshotstore=[STORE], extract=[complete(data, **result)])


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def serve(monkeypatch: pytest.MonkeyPatch, data: bytes) -> list[str]:
    """The store answers with the data; the URLs that it was asked for."""
    asked: list[str] = []

    def get(url: str, *_: object) -> Iterator[bytes]:
        asked.append(url)
        yield data

    monkeypatch.setattr(s3, "get", get)
    return asked


def copy(found: FakeObjects, path: str, target: Path) -> str:
    return extracts.copy(found, quiet(), "before", path, target, selection.Access(), 5)  # type: ignore[arg-type]


# --- the request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "a/session+token="])
@pytest.mark.parametrize("path", ["/bucket/a%20b/c%2Bd.tar", "/bucket/environments/x/files.tar"])
def test_the_signature_is_botocores(path: str, token: str) -> None:
    url, now = f"https://s3.example.org:9000{path}", datetime(2026, 3, 1, 12, tzinfo=UTC)
    mine = s3.signed(url, "eu-central-1", s3.Credentials(KEYS.key, KEYS.secret, token), now)
    request = botocore.awsrequest.AWSRequest(
        "GET", url, headers={"x-amz-content-sha256": mine["x-amz-content-sha256"], "x-amz-date": mine["x-amz-date"]}
    )
    if token:
        request.headers["x-amz-security-token"] = token
    theirs = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(KEYS.key, KEYS.secret), "s3", "eu-central-1")
    request.context["timestamp"] = mine["x-amz-date"]
    text = theirs.canonical_request(request)
    signature = theirs.signature(theirs.string_to_sign(request, text), request)
    assert mine["Authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize(
    ("fields", "endpoint", "expected"),
    [
        ({}, None, "https://s3.eu.amazonaws.com/shop/a%20b"),
        ({"prefix": "p/q"}, None, "https://s3.eu.amazonaws.com/shop/p/q/a%20b"),
        ({"endpoint": "http://s3:9000/"}, None, "http://s3:9000/shop/a%20b"),
        ({"endpoint": "http://s3:9000"}, "https://out:1", "https://out:1/shop/a%20b"),
        ({"path_style": False}, None, "https://shop.s3.eu.amazonaws.com/a%20b"),
    ],
)
def test_the_url(fields: Any, endpoint: str | None, expected: str) -> None:
    assert s3.url_of(S3(bucket="shop", region="eu", **fields), "a b", endpoint) == expected


@pytest.mark.parametrize("endpoint", ["s3.example.org", "file:///etc", "ftp://s3"])
def test_only_http_is_asked(endpoint: str) -> None:
    with pytest.raises(CliError, match="is not a URL"):
        s3.url_of(S3(bucket="shop"), "a", endpoint)


def test_credentials(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b%c\n[other]\naws_access_key_id = o\n")
    assert s3.credentials({}, file) == s3.Credentials("a", "b%c")
    with pytest.raises(CliError, match="no credentials"):
        s3.credentials({"AWS_PROFILE": "other"}, file)
    with pytest.raises(CliError, match="cannot read"):
        s3.credentials({}, tmp_path / "missing")
    with pytest.raises(CliError, match="AWS_ACCESS_KEY_ID") as refused:
        s3.credentials({}, None)
    assert "claim:FOLDER" not in str(refused.value), "it is also said to `keys` and `store unhide`"
    variables = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "t"}
    assert s3.credentials(variables, None) == s3.Credentials("a", "b", "t")


def test_a_real_server_takes_the_signature(seaweed: SeaweedFS) -> None:
    client, key = seaweed.client(), "p/environments/x y/files+1.tar"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"content" * 1000)
    store = S3(bucket=BUCKET, prefix="p", endpoint=seaweed.endpoint)
    url = s3.url_of(store, "environments/x y/files+1.tar", None)
    right = s3.Credentials(seaweed.key, seaweed.secret)
    assert b"".join(s3.get(url, "us-east-1", right, None)) == b"content" * 1000
    with pytest.raises(Denied, match="SignatureDoesNotMatch"):
        list(s3.get(url, "us-east-1", s3.Credentials(seaweed.key, "wrong"), None))
    with pytest.raises(CliError, match="NoSuchKey"):
        list(s3.get(s3.url_of(store, "missing", None), "us-east-1", right, None))


def test_a_store_that_does_not_answer() -> None:
    with pytest.raises(CliError, match="--endpoint"):
        list(s3.get("http://127.0.0.1:1/a", "us-east-1", KEYS, None))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_row_125_the_signature_goes_to_one_host_only(code: int) -> None:
    """A store that redirects, or who answers in its place, gets no signed request sent elsewhere."""
    with (
        answering(200, {}) as (elsewhere, seen),
        answering(code, {"Location": f"{elsewhere}/b"}) as (store, first),
        pytest.raises(CliError, match=f"the store answers {code}"),
    ):
        list(s3.get(f"{store}/a", "us-east-1", KEYS, None))
    assert len(first) == 1
    assert seen == []


@contextmanager
def answering(code: int, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """A server with one answer: its URL, and the Authorization of each request."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(code)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


# --- cp --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("keys")
def test_a_folder_is_copied_and_the_extract_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(papers__a=b"a", papers__deep__b=b"bb")
    found, asked = objects(data, files=2, bytes=3), serve(monkeypatch, data)
    done = copy(found, "papers", tmp_path / "out")
    assert (tmp_path / "out/deep/b").read_bytes() == b"bb"
    assert not (tmp_path / "out/link").is_symlink()
    assert "2 files" in done
    assert done.endswith("; left out: 1 symbolic link")
    assert asked == [f"https://s3.us-east-1.amazonaws.com/{BUCKET}/shop/environments/e/extracts/x/files.tar"]
    (kind, body), (deleted, name) = found.created[0], found.deleted[0]
    assert (kind, deleted) == (EXTRACT, EXTRACT)
    assert name.startswith("before-")
    assert body["spec"]["files"] == {"paths": ["papers"]}
    assert body["spec"]["target"] == {"store": {}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.usefixtures("keys")
def test_a_file_is_copied_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(papers__b=b"b")
    serve(monkeypatch, data)
    copy(objects(data), "papers/b", tmp_path)
    assert (tmp_path / "b").read_bytes() == b"b"
    with pytest.raises(Refused, match="exists"):
        copy(objects(data), "papers/b", tmp_path)
    with pytest.raises(Refused, match="does not exist"):
        copy(objects(data), "papers/b", tmp_path / "no/b")


@pytest.mark.usefixtures("keys")
def test_row_125_a_link_that_leads_nowhere_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, link = tar(papers__b=b"b"), tmp_path / "link"
    serve(monkeypatch, data)
    link.symlink_to(tmp_path / "gone")
    found = objects(data)
    with pytest.raises(Refused, match="link exists"):
        copy(found, "papers/b", link)
    assert link.is_symlink()
    assert not (tmp_path / "gone").exists()
    assert found.created == []


@pytest.mark.usefixtures("keys")
def test_other_bytes_than_the_extract_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tar(papers__b=b"forged"))
    found = objects(tar(papers__b=b"b"))
    with pytest.raises(CliError, match="SHA-256 differs"):
        copy(found, "papers/b", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    assert found.deleted


# --- of an encrypted snapshot ----------------------------------------------------------------------------------------


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    (tmp_path / "drawer").mkdir()
    subprocess.run(["age-keygen", "-o", tmp_path / "drawer/identity.txt"], check=True, capture_output=True)
    return tmp_path / "drawer/identity.txt"


def encrypted(data: bytes, identity: Path) -> bytes:
    return subprocess.run(["age", "-e", "-i", identity], input=data, check=True, capture_output=True).stdout


def of_encrypted(data: bytes, **held: str) -> FakeObjects:
    found = {"recipients": ["age1x"], **held}
    snapshot = {**SNAPSHOT, "status": {**SNAPSHOT["status"], "encryption": found}}
    done = complete(data, key="environments/e/extracts/x/files.tar.age")
    return FakeObjects(snapshot=[snapshot], snapshotstore=[STORE], extract=[done])


@pytest.mark.usefixtures("keys")
def test_an_encrypted_result_is_decrypted_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Path) -> None:
    data = encrypted(tar(papers__b=b"b"), identity)
    serve(monkeypatch, data)
    access, found = selection.Access(identity_secret="opens", identity=identity), of_encrypted(data)
    extracts.copy(found, quiet(), "before", "papers/b", tmp_path / "b", access, 5)  # type: ignore[arg-type]
    assert (tmp_path / "b").read_bytes() == b"b"
    assert found.created[0][1]["spec"]["identitySecretRef"] == {"name": "opens"}
    listing = encrypted(b'{"name": "deep", "type": "folder", "bytes": 2048, "files": 2}\n', identity)
    serve(monkeypatch, listing)
    console = quiet()
    extracts.show(of_encrypted(listing), quiet(), console, "before", "", access)  # type: ignore[arg-type]
    assert "deep" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("keys")
def test_what_jobs_can_open_needs_no_identity_in_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Path
) -> None:
    """Mode `Current`."""
    data = encrypted(tar(papers__b=b"b"), identity)
    serve(monkeypatch, data)
    found = of_encrypted(data, jobIdentitySecret="made")
    extracts.copy(found, quiet(), "before", "papers/b", tmp_path / "b", selection.Access(identity=identity), 5)  # type: ignore[arg-type]
    assert (tmp_path / "b").read_bytes() == b"b"
    assert "identitySecretRef" not in found.created[0][1]["spec"]


@pytest.mark.usefixtures("keys")
def test_a_foreign_identity_decrypts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Path) -> None:
    data = encrypted(tar(papers__b=b"b"), identity)
    serve(monkeypatch, data)
    subprocess.run(["age-keygen", "-o", tmp_path / "drawer/other"], check=True, capture_output=True)
    access, found = selection.Access(identity_secret="opens", identity=tmp_path / "drawer/other"), of_encrypted(data)
    with pytest.raises(CliError, match="age cannot decrypt"):
        extracts.copy(found, quiet(), "before", "papers/b", tmp_path / "b", access, 5)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["drawer"]
    assert found.deleted


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("given", [{}, {"identity_secret": "opens"}, {"identity_secret": "opens", "identity": "none"}])
def test_without_identities_no_extract_is_created(tmp_path: Path, given: dict[str, str]) -> None:
    fields: dict[str, Any] = {**given, **({"identity": tmp_path / "none"} if "identity" in given else {})}
    found = of_encrypted(b"")
    with pytest.raises(Refused, match="identity"):
        extracts.copy(found, quiet(), "before", "b", tmp_path / "b", selection.Access(**fields), 5)  # type: ignore[arg-type]
    assert found.created == []


@pytest.mark.parametrize("name", ["../evil", "papers/../../evil", "/evil", "other", "papers//evil", "papersier"])
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    data = tar(**{name.replace("/", "__"): b"evil"})
    with pytest.raises(CliError, match="not below"):
        extracts.unpack(io.BytesIO(data), "papers", tmp_path / "new")
    assert not (tmp_path / "evil").exists()


def test_without_keys_nothing_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    found = objects(b"")
    with pytest.raises(CliError, match=r"AWS_ACCESS_KEY_ID.*claim:FOLDER"):
        copy(found, "papers", tmp_path / "out")
    assert found.created == []


@pytest.mark.usefixtures("keys")
def test_an_extract_that_fails_says_why_and_is_deleted(tmp_path: Path) -> None:
    failed = condition("Failed", reason="FilesNotFound", message="The snapshot has no file 'papers'.")
    found = FakeObjects(
        snapshot=[SNAPSHOT], snapshotstore=[STORE], extract=[{"status": {"phase": "Failed", "conditions": [failed]}}]
    )
    with pytest.raises(CliError, match="FilesNotFound: The snapshot has no file"):
        copy(found, "papers", tmp_path / "out")
    assert found.deleted


def test_into_the_claim_no_key_is_needed() -> None:
    done = complete(b"", folder="restored-papers")
    done["status"]["conditions"] = [condition("Complete", message="2 files are in the folder restored-papers.")]
    found = FakeObjects(extract=[done])
    wanted = selection.wanted("papers")
    text = extracts.into_claim(found, quiet(), "before", wanted, "restored-papers", 5)  # type: ignore[arg-type]
    assert text.endswith("2 files are in the folder restored-papers.")
    assert found.created[0][1]["spec"]["target"] == {"claim": {"path": "restored-papers"}}
    assert found.deleted == []


@pytest.mark.parametrize("text", ["before", "before:", ":docs", "before:/"])
def test_a_source_names_snapshot_and_path(text: str) -> None:
    assert selection.snapshot_and_path("before:/papers/a:b") == ("before", "papers/a:b")
    with pytest.raises(CliError, match="SNAPSHOT:PATH"):
        selection.snapshot_and_path(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("papers/a", {"files": {"paths": ["papers/a"]}}),
        ("@res.partner/7", {"attachments": {"model": "res.partner", "recordId": 7}}),
        ("@res.partner/7/a/b", {"attachments": {"model": "res.partner", "recordId": 7, "name": "a/b"}}),
    ],
)
def test_what_is_wanted(path: str, expected: Object) -> None:
    assert selection.wanted(path) == expected


@pytest.mark.parametrize("path", ["@", "@res.partner", "@/7", "@res.partner/x", "@res.partner//a"])
def test_an_attachment_needs_model_and_record(path: str) -> None:
    with pytest.raises(CliError, match="@MODEL/ID"):
        selection.wanted(path)


@pytest.mark.usefixtures("keys")
def test_attachments_come_into_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(**{"42-contract.pdf": b"contract"})
    found, _ = objects(data, files=1, bytes=8), serve(monkeypatch, data)
    copy(found, "@res.partner/7/contract.pdf", tmp_path / "out")
    assert (tmp_path / "out/42-contract.pdf").read_bytes() == b"contract"
    assert found.created[0][1]["spec"]["attachments"]["recordId"] == 7
    with pytest.raises(CliError, match="not below"):
        extracts.unpack(io.BytesIO(tar(**{"..__evil": b"evil"})), "", tmp_path / "new")


@pytest.mark.usefixtures("keys")
def test_tables_come_into_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(**{"partner.csv": b"id\n7\n"})
    found, _ = objects(data, files=1, bytes=5, rows=1), serve(monkeypatch, data)
    wanted = selection.wanted_tables(["public.partner", "country"], "SQL")
    done = extracts.copy(
        found, quiet(), "before", "", tmp_path / "out", selection.Access(), 5, wanted  # type: ignore[arg-type]
    )  # fmt: skip
    assert (tmp_path / "out/partner.csv").read_bytes() == b"id\n7\n"
    assert "with 1 row" in done
    spec = found.created[0][1]["spec"]
    assert spec["tables"] == [
        {"schema": "public", "name": "partner"},
        {"name": "country"},
    ]
    assert spec["target"] == {"store": {"format": "SQL"}}
    assert selection.wanted_tables(["a"], None)["target"] == {"store": {}}


def test_comparisons_of_a_table() -> None:
    where = ["id>=7", "name = a = b.c:d ", "state!=done", "x<1", "y <= ", "z > >"]
    (table,) = selection.wanted_tables(["partner"], None, where)["tables"]
    assert [(each["column"], each["operator"], each["values"]) for each in table["where"][0]["allOf"]] == [
        ("id", "AtLeast", ["7"]), ("name", "In", ["a = b.c:d"]), ("state", "NotIn", ["done"]), ("x", "LessThan", ["1"]),
        ("y", "AtMost", [""]), ("z", "GreaterThan", [">"]),
    ]  # fmt: skip
    assert WantedTable.model_validate(table).name == "partner"


@pytest.mark.parametrize(
    ("tables", "where", "said"),
    [
        (["a", "b"], ["id=1"], "goes with one --table"),
        (["a"], ["id IS NULL"], "write COLUMN=VALUE"),
        (["a"], ["=1"], "write COLUMN=VALUE"),
    ],
)
def test_text_that_is_no_comparison(tables: list[str], where: list[str], said: str) -> None:
    with pytest.raises(CliError, match=said):
        selection.wanted_tables(tables, None, where)


def test_into_the_live_database_no_key_is_needed() -> None:
    done = complete(b"", schema="restored_1")
    done["status"]["conditions"] = [condition("Complete", message="1 files are in the schema restored_1.")]
    found = FakeObjects(extract=[done])
    wanted = selection.wanted_tables(["partner"], None)
    text = extracts.into_database(found, quiet(), "before", wanted, 5)  # type: ignore[arg-type]
    assert text.endswith("1 files are in the schema restored_1.")
    assert found.created[0][1]["spec"]["target"] == {"database": {}}
    assert found.deleted == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("cp", "before:papers", "database:"),
        ("cp", "before", "database:", "--table", "partner", "--format", "SQL"),
        ("ls", "before", "papers", "--tables"),
        ("cp", "before:papers", "out", "--table", "partner"),
        ("cp", "before", "claim:out", "--table", "partner"),
        ("cp", "before:papers", "out", "--format", "CSV"),
    ],
)
def test_tables_go_alone(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


# --- ls --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("keys")
def test_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"name": "a\x1b[31m", "type": "file", "bytes": 3},
        {"name": "deep", "type": "folder", "bytes": 2048, "files": 2},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    serve(monkeypatch, data)
    console = quiet()
    found = objects(data)
    extracts.show(found, quiet(), console, "before", "papers/", selection.Access())  # type: ignore[arg-type]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "deep" in text
    assert "2.0 KiB" in text
    assert "\x1b" not in text
    assert found.created[0][1]["spec"]["listing"] == {"path": "papers"}
    assert found.deleted


@pytest.mark.usefixtures("keys")
def test_a_listing_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"type": "table", "schema": "public", "name": "par\ntner", "rows": 99, "bytes": 2048},
        {"type": "table", "schema": "public", "name": "uncounted", "rows": None, "bytes": 1},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    serve(monkeypatch, data)
    console, found = quiet(), objects(data)
    extracts.show(found, quiet(), console, "before", "", selection.Access(), tables=True)  # type: ignore[arg-type]
    shown = [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert shown == [
        ["Type", "Rows", "Size", "Name"],
        ["table", "99", "2.0", "KiB", "public.par\\ntner"],
        ["table", "1", "B", "public.uncounted"],
    ]
    assert found.created[0][1]["spec"]["listing"] == {"tables": True}
