"""The Secret of mode Current: made before the Job, kept while the Snapshot is of the newest generation, and deleted."""

import asyncio
import base64
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import naming
from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.protocol import Failure
from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_crds.stored.manifest import Encryption
from ocore_crds.text import age_keys
from ocore_kube.errors import ApiError, Forbidden, Unavailable
from ocore_kube.types import SECRETS, SNAPSHOTS
from ocore_operator.entries import full_snapshots
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.errors import Failed
from ocore_operator.frame.actions import Idle
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Object
from ocore_operator.snapshot import job_identities, transitions
from ocore_operator.snapshot.effects import carry_out
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import EndJobIdentity, World
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.differentials import differential, full, snapshot, uid
from support.operator.objects import SETTINGS, at, moment, observation

ALICE, JOB = (age_keys.recipient(bytes([number]) * 32) for number in (1, 2))


def own(number: int) -> str:
    return naming.job_identity_secret(uid(number))


def with_secret(secret: str | None, job_key: str | None = JOB) -> Object:
    """The status of an encrypted Snapshot."""
    found = {"recipients": [ALICE], "jobKey": job_key, "jobIdentitySecret": secret}
    return {"encryption": {name: value for name, value in found.items() if value is not None}}


def running(number: int = 1) -> Object:
    """Its Job is about to be created."""
    return snapshot("s", number, "Failed", phase="Running", conditions=[], **with_secret(own(number), None))


class Bench:
    """An API server, and the catalog of what it has."""

    def __init__(self, *objects: Object) -> None:
        self.server, self.catalog = ApiServer(), new_catalog()
        self.said: list[tuple[str, str]] = []
        self.ctx: Any = SimpleNamespace(
            kube=self.server.client(),
            catalog=self.catalog,
            now=lambda: moment(200),
            events=SimpleNamespace(record=lambda _, type_, reason, text: self.said.append((reason, text))),
        )
        for each in objects:
            self.catalog.put("Snapshot", self.server.put(SNAPSHOTS, each))

    def get(self, name: str) -> resources.Snapshot:
        return resources.snapshot(self.server.read(SNAPSHOTS, "shop", name))

    def create(self, name: str = "s") -> None:
        asyncio.run(job_identities.create(self.ctx, self.get(name)))

    def secrets(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.server.paths() if "/secrets/" in path}

    def refuse(self, method: str, error: ApiError, monkeypatch: pytest.MonkeyPatch) -> None:
        async def refused(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(self.ctx.kube, method, refused)

    def ends(self, *, job_key: str | None = JOB, base: int | None = None) -> str | None:
        """The Snapshot s becomes Complete. Returns the Secret in its status."""
        result = SnapshotResult(
            attempt="1", manifest_key="k", manifest_sha256="0" * 64, store_id=uid(9), started_at=at(0),
            consistent_at=at(0), completed_at=at(1), base_snapshot_id=uid(base) if base is not None else "",
            encryption=Encryption(public_key=ALICE, recipients=(ALICE,), job_key=job_key),
        )  # fmt: skip
        snap = self.get("s")
        status = transitions.completed(snap, result, None, clean=True, imported=False, now=moment(9))
        settled = asyncio.run(job_identities.settled(self.ctx, snap, status))
        assert settled.encryption is not None
        return settled.encryption.job_identity_secret


def test_the_secret_is_the_snapshots_and_no_one_can_change_it() -> None:
    bench = Bench(running())
    bench.create()
    found = bench.server.read(SECRETS, "shop", own(1))
    assert (found["type"], found["immutable"]) == ("ocore.dev/job-identity", True)
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Snapshot", uid(1))
    (name, value), = found["data"].items()  # fmt: skip
    line = base64.b64decode(value).decode()
    assert name == "identity.txt"
    assert len(age_keys.secret_key(line.strip())) == 32
    bench.create()
    assert bench.server.read(SECRETS, "shop", own(1)) == found, "a later attempt has the same"
    assert not [method for method, path in bench.server.requests if "/secrets" in path and method in ("GET", "PATCH")]


def test_two_snapshots_have_two_identities() -> None:
    bench = Bench(running(1), snapshot("t", 2, "Failed", phase="Running", conditions=[], **with_secret(own(2), None)))
    bench.create("s")
    bench.create("t")
    one, two = (bench.server.read(SECRETS, "shop", own(number))["data"] for number in (1, 2))
    assert one != two


def test_a_sealed_snapshot_gets_none() -> None:
    bench = Bench(snapshot("s", 1, "Failed", phase="Running", conditions=[], **with_secret(None, None)))
    bench.create()
    assert bench.secrets() == set()


def test_without_the_right_the_snapshot_is_taken_and_an_event_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(running())
    bench.refuse("create", Forbidden(403, "Forbidden", "no"), monkeypatch)
    bench.create()
    ((reason, text),) = bench.said
    assert reason == "JobIdentityRefused"
    assert "rbac.jobIdentities" in text
    bench.refuse("create", Unavailable(503, "Unavailable", "later"), monkeypatch)
    with pytest.raises(Unavailable):
        bench.create()


def test_a_full_one_keeps_its_secret() -> None:
    bench = Bench(running())
    bench.create()
    assert bench.ends() == own(1)
    assert bench.secrets() == {own(1)}


def test_a_differential_has_that_of_its_base() -> None:
    bench = Bench(full("f", 1, **with_secret(own(1))), running(2))
    bench.create()
    assert bench.ends(base=1) == own(1)
    assert bench.secrets() == set()


@pytest.mark.parametrize("base", [with_secret(None), {"encryption": None}])
def test_a_differential_of_a_base_that_is_closed_by_now_has_none(base: Object) -> None:
    bench = Bench(full("f", 1, **base), running(2))
    bench.create()
    assert bench.ends(base=1) is None


def test_one_that_no_job_opens_has_none() -> None:
    bench = Bench(running())
    bench.create()
    assert bench.ends(job_key=None) is None
    assert bench.secrets() == set()


def test_one_that_failed_has_none() -> None:
    bench = Bench(running())
    bench.create()
    snap = bench.get("s")
    end = Failed.of(Failure(reason="Corrupt", message="x"))
    status = asyncio.run(
        job_identities.settled(bench.ctx, snap, transitions.failed(snap, end, stored=False, now=moment(9)))
    )
    assert status.encryption is not None
    assert status.encryption.job_identity_secret is None
    assert bench.secrets() == set()


def test_where_it_may_not_be_deleted_a_person_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(running())
    bench.refuse("delete", Forbidden(403, "Forbidden", "no"), monkeypatch)
    assert bench.ends(job_key=None) is None
    ((reason, text),) = bench.said
    assert reason == "JobIdentityRefused"
    assert own(1) in text


# --- the next generation -----------------------------------------------------------------------------------------


def generation(*more: Object) -> Bench:
    """A full Snapshot and its differential, that a Job identity opens."""
    return Bench(
        full("f", 1, dependents=["d"], **with_secret(own(1))),
        differential("d", 2, "f", 1, **with_secret(own(1))),
        *more,
    )


def replaced(bench: Bench) -> list[str]:
    """Names of those that a resync finds because of it."""
    found = (
        bench.catalog.find(SnapshotEntry, key.namespace, key.name)
        for key in full_snapshots.all_unsettled(bench.catalog)
    )
    return sorted(e.key.name for e in found if e is not None and full_snapshots.is_replaced(bench.catalog, e))


def test_row_157_a_newer_full_one_closes_those_before_it() -> None:
    bench = generation()
    assert replaced(bench) == []
    newer = full("next", 3, **with_secret(own(3)))
    bench.catalog.put("Snapshot", bench.server.put(SNAPSHOTS, newer))
    assert replaced(bench) == ["d", "f"]
    queued = {key.name for key in full_snapshots.related(bench.catalog, Key("Snapshot", "shop", "next"))}
    assert {"d", "f"} <= queued


@pytest.mark.parametrize(
    "other",
    [
        differential("other", 3, "f", 1, **with_secret(own(1))),
        full("other", 3, "Failed"),
        full("other", 3, source={"environmentId": uid(7), "environmentName": "x", "environmentType": "production"}),
        full("other", 0),
        snapshot("other", 3, "Failed", phase="Running", conditions=[], fullFilestore=True, **with_secret(own(3), None)),
    ],
    ids=["differential", "failed", "environment", "older", "running"],
)
def test_nothing_else_does(other: Object) -> None:
    assert replaced(generation(other)) == []


def test_row_157_a_safety_snapshot_does_not_close_what_its_rollback_restores() -> None:
    """It is taken while the restore begins, which needs the Secret."""
    safety = full("safety", 3, **with_secret(own(3)))
    safety["spec"]["trigger"] = SAFETY_TRIGGER
    assert replaced(generation(safety)) == []
    assert replaced(generation(safety, full("next", 4, **with_secret(own(4))))) == ["d", "f", "safety"]


def test_a_sealed_full_one_does_too() -> None:
    """Its mode was changed: nothing keeps the older identity in use."""
    assert replaced(generation(full("next", 3, **with_secret(None, None)))) == ["d", "f"]


def test_row_157_the_secret_is_deleted_by_the_snapshot_that_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = generation(full("next", 3, **with_secret(own(3))))
    bench.server.put(SECRETS, {"metadata": {"namespace": "shop", "name": own(1)}})
    written: dict[str, Any] = {}

    async def record(_: Any, snap: Any, action: Any) -> None:
        written[snap.meta.name] = action.status.encryption

    monkeypatch.setattr("ocore_operator.snapshot.effects.frame.carry_out", record)
    for name, left in (("d", {own(1)}), ("f", set[str]())):
        world = World(bench.get(name), moment(200), SETTINGS, observation(), replaced=True)
        action = decide(world)
        assert action == EndJobIdentity()
        asyncio.run(carry_out(bench.ctx, world, action))
        assert bench.secrets() == left, name
        assert written[name].job_identity_secret is None
        assert written[name].job_key == JOB
    assert isinstance(decide(World(bench.get("f"), moment(200), SETTINGS, observation())), Idle)
