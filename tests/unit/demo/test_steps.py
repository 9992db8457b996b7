"""The steps that make staging and undo the rollback fail the demo if the data is not what they promise."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from rich.console import Console

from demo_run.evidence import Mark
from demo_run.output import Output, StepFailed
from demo_run.rest import VALUES
from demo_run.steps import Demo

Object = dict[str, Any]
#: Confirmed orders up to an id, in the snapshot and after the damage.
GOOD, DAMAGED, OTHER = (900, "good"), (300, "damaged"), (899, "other")


class FakeShops:
    """Two shops. `kubectl ocore` changes what they hold, as the operator does."""

    def __init__(self) -> None:
        self.orders = {"shop": GOOD, "shop-staging": (0, "empty")}
        self.acting = {"shop": True, "shop-staging": True}
        self.uuid = {"shop": "p", "shop-staging": "s"}
        self.pods = ["pod-1"]
        self.missing = {"shop": True, "shop-staging": True}
        self.last_id = 1500
        self.restored = GOOD
        self.effects: dict[str, Callable[[], None]] = {
            "watch": lambda: self._set("shop-staging", GOOD, acting=False, uuid="c"),
            "undo-x": lambda: self._set("shop", DAMAGED),
            "redo-x": lambda: self._set("shop", self.restored),
        }
        self.applied: list[Object] = []
        #: Attachments without a file, and what `kubectl get snapshots` lists.
        self.lost = 0
        self.snapshots: list[Object] = []
        self.asked: list[tuple[str, ...]] = []

    def _set(self, shop: str, orders: tuple[int, str], *, acting: bool = True, uuid: str = "p") -> None:
        self.orders[shop], self.acting[shop], self.uuid[shop], self.missing[shop] = orders, acting, uuid, False

    def app(self, path: str, shop: str = "shop") -> Object:
        confirmed, fingerprint = self.orders[shop]
        if path.startswith("/api/orders"):
            return {"confirmed": confirmed, "fingerprint": fingerprint}
        active = int(self.acting[shop])
        acting = {"mail_servers": active, "jobs": active, "payment_providers": active, "neutralized": not active}
        return {
            "orders": {"count": confirmed, "confirmed": confirmed, "revenue": "1.00", "last_id": self.last_id},
            "attachments": {"count": 1, "missing": self.lost},
            "database": {"uuid": self.uuid[shop], "rollback_id": None},
            "acting": acting,
        }

    def in_app(self, *_: str, shop: str, timeout: float, ok: tuple[int, ...]) -> Object:
        del timeout, ok
        bad = self.missing[shop]
        counts = {k: int(bad) for k in ("missing", "size", "sha1", "name", "torn_orders")}
        return {"ok": not bad, "rows": 1, "files": 1, "bytes": 1, "examples": [], **counts}

    def ocore(self, command: str, *arguments: str, timeout: float) -> int:
        del timeout
        self.asked.append((command, *arguments))
        self.effects[arguments[arguments.index("--name") + 1] if "--name" in arguments else command]()
        return 0

    def kubectl(self, *_: str, stdin: str = "", timeout: float = 60) -> str:
        del timeout
        self.applied += [yaml.safe_load(stdin)] if stdin else []
        return ""

    def get(self, *_: str) -> None:
        return None

    def apply(self, *_: object) -> None:
        """The load generator, which places orders."""
        self.last_id += 1000

    def run(self, *command: str) -> str:
        if "snapshots.ocore.dev" in command:
            return json.dumps({"items": self.snapshots})
        return json.dumps({"items": [{"metadata": {"uid": uid}, "status": {}} for uid in self.pods]})

    def load_events(self) -> list[Object]:
        return [{"event": "outage", "since": datetime.now(UTC).isoformat(), "seconds": 4.0}]


@pytest.fixture
def shops() -> FakeShops:
    return FakeShops()


@pytest.fixture
def demo(shops: FakeShops) -> Demo:
    output = Output(ci=True, steps=12)
    output.console = Console(file=io.StringIO(), width=200)
    made = Demo(output, shops)  # type: ignore[arg-type]
    made.undo_name, made.redo_name = "undo-x", "redo-x"
    made.damaged = Mark(500, *DAMAGED)
    made.states = {"damaged": shops.app("/api/state"), "after": shops.app("/api/state")}
    shops.missing["shop"] = False
    return made


MARK = Mark(500, *GOOD)


def test_staging_from_the_snapshot(demo: Demo, shops: FakeShops) -> None:
    demo.staging(MARK)
    (rollback,) = shops.applied
    assert rollback["metadata"]["name"] == demo.copy_name
    assert rollback["spec"]["snapshotRef"] == {"name": demo.snapshot_name}
    assert rollback["spec"]["targetEnvironmentRef"] == {"name": "staging"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.orders.update({"shop-staging": OTHER}), "confirmed orders up to S00500: 900 before, 899 now"),
        (lambda s: s.missing.update({"shop-staging": True}), "1 files missing"),
        (lambda s: s.acting.update({"shop-staging": True}), "staging still has active"),
        (lambda s: s.acting.update({"shop": False}), "production has changed: acting.mail_servers"),
        (lambda s: s.pods.append("pod-2"), "a pod of production was replaced"),
    ],
)
def test_staging_that_is_wrong_fails(
    demo: Demo, shops: FakeShops, change: Callable[[FakeShops], None], message: str
) -> None:
    right = shops.effects["watch"]

    def wrong() -> None:
        right()
        change(shops)

    shops.effects["watch"] = wrong
    with pytest.raises(StepFailed, match=message):
        demo.staging(MARK)


def test_undo_and_undo_of_the_undo(demo: Demo, shops: FakeShops) -> None:
    demo.undo(MARK)
    assert demo.downtimes == {"undo-x": 4.0, "redo-x": 4.0}
    assert shops.orders["shop"] == GOOD


def test_an_undo_that_changed_nothing_fails(demo: Demo, shops: FakeShops) -> None:
    shops.effects["undo-x"] = lambda: None
    with pytest.raises(StepFailed, match="not those of the damaged data"):
        demo.undo(MARK)


def test_an_undo_of_the_undo_that_lost_an_order_fails(demo: Demo, shops: FakeShops) -> None:
    shops.restored = OTHER
    with pytest.raises(StepFailed, match=r"confirmed orders up to S01400: 900 before, 899 now"):
        demo.undo(MARK)


def stored(name: str, created: str, complete: str = "True") -> Object:
    conditions = [{"type": "Complete", "status": complete}]
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": {"conditions": conditions}}


def test_a_run_after_one_that_ended_damaged_repairs_the_data(demo: Demo, shops: FakeShops) -> None:
    """Otherwise its own snapshot would fail: files are missing."""
    shops.lost, shops.effects["repair-x"] = 7, lambda: setattr(shops, "lost", 0)
    shops.snapshots = [
        stored("before-2", "2026-01-02T00:00:00Z"),
        stored("before-1", "2026-01-01T00:00:00Z"),
        stored("before-3", "2026-01-03T00:00:00Z", "False"),  # of the damaged data
        stored("mine", "2026-01-04T00:00:00Z"),
    ]
    demo.rollback_name = "back-x"
    demo.load()
    ((command, snapshot, *_),) = shops.asked
    assert (command, snapshot) == ("rollback", "before-2")


def test_a_run_after_one_that_ended_well_repairs_nothing(demo: Demo, shops: FakeShops) -> None:
    demo.load()
    assert not shops.asked


def test_data_that_nothing_can_repair_is_to_be_removed(demo: Demo, shops: FakeShops) -> None:
    shops.lost = 7
    with pytest.raises(StepFailed, match="7 attachments have no file, and no snapshot has them: `make demo-clean`"):
        demo.load()


def test_it_ends_with_the_page_and_how_to_sign_in(demo: Demo) -> None:
    demo.epilogue()
    said = demo.output.console.file.getvalue()  # type: ignore[attr-defined]
    assert yaml.safe_load(VALUES.read_text())["api"]["settings"]["ui"] is True
    (address,) = [line.split()[1] for line in said.splitlines() if "/ui" in line]
    assert address == "http://127.0.0.1:8082/ui"
    assert "ocore-ocore-snapshots-api 8082:80" in said
    assert "examples/demo/run --token " in said
