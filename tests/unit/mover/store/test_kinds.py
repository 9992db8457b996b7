"""The table of kinds of stores."""

from pathlib import Path
from urllib.parse import SplitResult

import pytest

from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.store import S3Options, Store, kinds, open_store
from ocore_mover.store.probe import probe_store
from support.mover.filestore import ENVIRONMENT
from support.mover.memory_store import MemoryStore
from support.mover.plain_tree import make_tree, stage, take, tree


@pytest.mark.parametrize(
    "url",
    [
        "http://x/y",
        "s3://",
        "s3://Upper/x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "file://host/x",
        "file:relative",
        "/plain",
        "s3://b?x=1",
        "s3://bucket/x#y",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|bucket|prefix"):
        open_store(url)


def test_urls_for_people() -> None:
    assert open_store("s3://bucket/").url == "s3://bucket"
    assert open_store("s3://bucket/some/prefix").url == "s3://bucket/some/prefix"
    assert open_store("file:///a%20b/c").local_root == Path("/a b/c")


def test_a_third_kind_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has to know it: a filestore goes into it and comes back."""
    made: dict[str, Store] = {}

    def memory(parts: SplitResult, _: S3Options) -> Store:
        return made.setdefault(parts.netloc, MemoryStore(parts.geturl()))

    with pytest.raises(ValueError, match="URL"):
        open_store("memory://shop")
    monkeypatch.setitem(kinds.KINDS, "memory", memory)
    store = open_store("memory://shop")
    found = probe_store(store)
    assert (found.checksums, found.conditional_writes, found.warnings) == ("Server", True, ())
    folders = ClaimFolders(tmp_path / "claim", "files/live", ENVIRONMENT)
    folders.filestore.mkdir(parents=True)
    make_tree(folders.filestore)
    artifact, _ = take(open_store("memory://shop"), folders)
    assert tree(stage(store, artifact, folders)) == tree(folders.filestore)
