"""A folder of layout Plain with a configuration, its store, and the command that snapshots it."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.mover.beside import ENVIRONMENT, Finished, call


class Folder:
    """A folder of layout Plain with a configuration, its store, and the command."""

    def __init__(self, base: Path) -> None:
        self.store = base / "store"
        self.config = base / "config"
        self.claim = base / "claim"
        for folder in (self.store, self.config, self.claim / "files"):
            folder.mkdir(parents=True)
        (self.claim / "files/a").write_bytes(bytes(range(256)) * 40)
        (self.config / "app.conf").write_text("key = value\n")
        self.snapshot_id = str(uuid.uuid4())
        assert call("probe-store", "--store", self.store.as_uri()).code == 0

    def snapshot(self, *more: str) -> Finished:
        return call(
            "snapshot", *self.which, "--claim", str(self.claim), "--filestore", "files", "--layout", "Plain",
            "--config", str(self.config), *more,
        )  # fmt: skip

    @property
    def which(self) -> list[str]:
        return ["--store", self.store.as_uri(), "--environment-id", ENVIRONMENT, "--snapshot-id", self.snapshot_id]

    def pack(self) -> Path:
        return next(path for path in self.store.rglob("pack-*"))

    def objects(self) -> list[str]:
        return [path.name for path in self.store.rglob("*") if path.is_file() and path.name != "ocore-store.json"]

    def is_none(self) -> bool:
        """Whether the store has no such snapshot."""
        found = call("inspect", *self.which)
        return found.code == 1 and found.reason == "SnapshotNotFound"


def damage_first(module: Any, name: str, damage: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is damaged at the moment before this function runs."""
    real = getattr(module, name)

    def damaged(*arguments: Any, **options: Any) -> Any:
        damage()
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, damaged)
