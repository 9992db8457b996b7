"""A rollback into another environment: who may restore what, from which store, and what is protected in the
meantime."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.rules.retention import snapshot_used_by
from ocore_kube.errors import Forbidden
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS, STORES
from ocore_operator.entries.operations import operations
from ocore_operator.entries.rollbacks import restored
from ocore_operator.frame.actions import Record, SetLock, Wait
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Key, Object
from ocore_operator.rollback import building, observe, observe_source, plan, source
from ocore_operator.rollback import world as v
from ocore_operator.rollback.executed import executed, run_of, spec_hash
from ocore_operator.rollback.transitions import change, start_undo
from ocore_operator.snapshot import observe as snapshot_observe
from support.operator import objects
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.jobs import request_of
from support.operator.objects import OTHER_UID, PROJECT, SETTINGS, UID, at
from support.operator.rollback_changed import snapshot
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ENVIRONMENT_ID, OTHER_ENVIRONMENT_ID, ROLLBACK_ID, Model
from support.operator.rollback_seen import altered_environment

STAGING_ID = "77777777-2222-4333-8444-555555555555"
STORE_ID = "88888888-2222-4333-8444-555555555555"
SOURCE = {"environmentId": UID, "environmentName": "shop", "environmentType": "staging", "projectId": PROJECT}
COMPLETE = [{"type": "Complete", "status": "True", "reason": "Succeeded", "lastTransitionTime": at(0)}]
READY = [{"type": "Ready", "status": "True", "reason": "Succeeded", "lastTransitionTime": at(0)}]


# --- the decisions ---------------------------------------------------------------------------------------------------


def ready(**options: Any) -> Model:
    """A model whose rollback from another environment is about to start."""
    model = Model(other=True, **options)
    operator = Operator(model)
    for _ in range(50):
        seen, action = operator.decide()
        if isinstance(action, Record) and action.status.stage == "Restore":
            return model
        if not operator.act(seen, action):
            model.advance(1, 1)
    raise AssertionError("it does not start")


def decided(change_: Any, *, status: RollbackStatus | None = None, later: float = 0, **spec: object) -> v.Action:
    model = ready()
    model.time += later
    wanted = type(model.spec).model_validate({**model.spec.wire(), **spec})
    return plan.decide(status or model.status, wanted, change_(model.see(model.time).world), ROLLBACK_ID, model.now())


def status_of(action: v.Action) -> RollbackStatus:
    assert isinstance(action, Record), action
    return action.status


def from_(**changes: Any) -> Any:
    return lambda w: replace(w, source=replace(w.source, **changes))


def from_store(**changes: Any) -> Any:
    return lambda w: replace(w, source=replace(w.source, store=replace(w.source.store, **changes)))


def into(**changes: Any) -> Any:
    return lambda w: replace(w, environment=altered_environment(w.environment, **changes))


def both(*changes: Any) -> Any:
    def apply(world: v.World) -> v.World:
        for each in changes:
            world = each(world)
        return world

    return apply


@pytest.mark.parametrize(
    ("change_", "reason", "says"),
    [
        (from_(watched=False), c.NAMESPACE_NOT_WATCHED, "watchNamespaces"),
        (snapshot(deleting=True), c.SNAPSHOT_NOT_FOUND, "is being deleted"),
        (snapshot(project_id="other"), c.OTHER_PROJECT, "stays within a project"),
        (both(into(type="staging", neutralize_command=True), snapshot(environment_type="production")),
         c.CANNOT_NEUTRALIZE, "must be neutralised"),
        (both(into(type="staging", neutralize_command=True), snapshot(environment_type="")),
         c.CANNOT_NEUTRALIZE, "must be neutralised"),
        (from_store(id="store-2"), c.OTHER_STORE, "has the id store-2"),
        (from_store(id=""), c.OTHER_STORE, "sourceStoreRef"),
        (snapshot(store_id=""), c.OTHER_STORE, "unknown"),
        (both(from_(record_account="a"), from_store(account="b")), c.SERVICE_ACCOUNT_CONFLICT, "serviceAccountName"),
        # What holds for the target, not for the source.
        (snapshot(server_major=18), c.UNSUPPORTED_SERVER, "PostgreSQL 18"),
        (into(capacity=2 * 10**9), c.INSUFFICIENT_CAPACITY, "476.8 MiB"),
        (into(rollback_ready=False, not_ready_reason=c.STORE_READ_ONLY, not_ready_message="ReadOnly"),
         c.STORE_READ_ONLY, "ReadOnly"),
    ],
)  # fmt: skip
def test_refused_at_once(change_: Any, reason: str, says: str) -> None:
    status = status_of(decided(change_))
    assert (status.phase, status.failure_reason) == ("Failed", reason)
    assert says in (status.failure_message or "")
    assert (status.residue, status.attempt, status.started_at) == ("None", 0, None)


def test_it_must_be_complete_as_one_of_the_own_environment() -> None:
    waits = decided(snapshot(complete=False))
    assert isinstance(waits, Wait)
    assert waits.reason == c.WAITING_FOR_SNAPSHOT
    never = status_of(decided(snapshot(complete=False, failed=True)))
    assert (never.phase, never.failure_reason) == ("Failed", c.SNAPSHOT_NOT_COMPLETE)


@pytest.mark.parametrize(
    ("change_", "reason"),
    [
        (lambda w: replace(w, snapshot=None), c.ACCESS_NOT_GRANTED),
        (from_store(exists=False), c.STORE_NOT_FOUND),
        (from_store(problem="it has not been probed yet."), c.STORE_NOT_READY),
        (lambda w: replace(w, environment=None), c.ENVIRONMENT_NOT_FOUND),
    ],
)
def test_what_may_still_come_is_waited_for_a_minute(change_: Any, reason: str) -> None:
    assert isinstance(decided(change_), Wait)
    assert status_of(decided(change_, later=61)).failure_reason == reason


def test_without_a_target_another_environment_is_refused() -> None:
    model = ready()
    spec = model.spec.model_copy(update={"target_environment_ref": None})
    action = plan.decide(model.status, spec, model.see(model.time).world, ROLLBACK_ID, model.now())
    assert status_of(action).failure_reason == c.OTHER_ENVIRONMENT
    assert "set targetEnvironmentRef" in (status_of(action).failure_message or "")


def test_equal_service_accounts_are_fine() -> None:
    for accounts in (("a", "a"), ("", "b"), ("a", "")):
        action = decided(both(from_(record_account=accounts[0]), from_store(account=accounts[1])))
        assert status_of(action).stage == "Restore"


def test_what_the_status_says_from_the_start_on() -> None:
    status = status_of(decided(lambda w: w))
    assert (status.stage, status.environment_id) == ("Restore", ENVIRONMENT_ID)
    assert (status.snapshot_namespace, status.snapshot_name) == ("prod", "s1")
    assert (status.source_environment_id, status.source_environment_type) == (OTHER_ENVIRONMENT_ID, "production")
    assert (status.source_store_name, status.live_database) == ("reader", "shop")
    assert source.is_copy(status)
    assert source.reads_elsewhere(status)
    # An undo keeps what its databases are a copy of. It uses no Snapshot, so it protects none.
    undo = start_undo(
        RollbackStatus(id=ROLLBACK_ID), Model().spec, ready().see(0).world.environment, undone(status), ready().now()
    )  # type: ignore[arg-type]
    assert (undo.source_environment_id, undo.snapshot_namespace) == (OTHER_ENVIRONMENT_ID, None)


def undone(status: RollbackStatus) -> v.UndoneView:
    return v.UndoneView(name="r1", id=OTHER_UID, status=change(status, position="New"))


def test_the_snapshot_is_claimed_before_anything_is_waited_for() -> None:
    """Then a deletion of it waits. One that began before is seen, because the Snapshot is read again after the
    claim."""
    model = Model(other=True)
    operator = Operator(model)
    for _ in range(10):
        seen, action = operator.decide()
        if isinstance(action, Record) and action.status.snapshot_namespace:
            break
        assert not (isinstance(action, v.Do) and action.effect == SetLock(held=True)), "locked before the claim"
        operator.act(seen, action)
    claimed = status_of(action)
    assert (claimed.stage, claimed.snapshot_namespace, claimed.snapshot_name) == ("Preflight", "prod", "s1")
    operator.act(seen, action)
    gone = snapshot(deleting=True)(model.see(model.time).world)
    refused = status_of(plan.decide(model.status, model.spec, gone, ROLLBACK_ID, model.now()))
    assert refused.failure_reason == c.SNAPSHOT_NOT_FOUND


def test_a_grant_that_is_taken_back_before_the_restore_starts_aborts() -> None:
    model = ready()
    status = status_of(decided(lambda w: w))
    world = replace(model.see(model.time).world, snapshot=None)
    aborted = status_of(plan.decide(status, model.spec, world, ROLLBACK_ID, model.now()))
    assert (aborted.stage, aborted.failure_reason) == ("Abort", c.ACCESS_NOT_GRANTED)
    # Not one that runs: it has all that it needs.
    running = replace(world, jobs=(v.JobView("restore", 1, "restore-1", pods=1),))
    assert isinstance(plan.decide(status, model.spec, running, ROLLBACK_ID, model.now()), Wait)


def test_from_the_beginning_to_the_end_though_the_source_is_gone() -> None:
    model = ready()
    operator = Operator(model)
    for _ in range(400):
        operator.work()
        model.advance(5, 4)
        model.revoked = model.status.stage not in (None, "Preflight") and any(
            j.command == "restore" for j in model.jobs.values()
        )
    assert (model.status.phase, model.status.residue) == ("Complete", "None")


# --- what is read ----------------------------------------------------------------------------------------------------


class Reading:
    """An API server with production in the namespace prod, and a Rollback in the namespace stage that wants its
    snapshot."""

    def __init__(self, *, namespaces: tuple[str, ...] = (), stage: str | None = "Preflight", **spec: Any) -> None:
        self.api = ApiServer()
        self.queued: list[Key] = []
        self.ctx: Any = SimpleNamespace(
            kube=self.api.client(),
            settings=SETTINGS.model_copy(update={"namespaces": namespaces}),
            queue=SimpleNamespace(add=self.queued.append),
            catalog=new_catalog(),
            slots=SimpleNamespace(set_store=lambda *_: None),
        )
        status = {"stage": stage} if stage is not None else {}
        wanted = {
            "snapshotRef": {"name": "before", "namespace": "prod"},
            "targetEnvironmentRef": {"name": "copy"},
            **spec,
        }
        self.rollback = resources.rollback(objects.obj("Rollback", "back", wanted, status, namespace="stage"))
        self.put_environment({"allowRollbackTo": [{"namespace": "other"}, {"namespace": "stage"}]})
        taken = {"source": SOURCE, "storeName": "store", "storeId": STORE_ID, "conditions": COMPLETE}
        self.api.put(SNAPSHOTS, objects.snapshot_object(None, taken, namespace="prod"))
        target = {"type": "staging", "storeRef": {"name": "own"}}
        self.api.put(
            ENVIRONMENTS, named(objects.environment_object(target, {}, uid=STAGING_ID, namespace="stage"), "copy")
        )

    def put_environment(self, spec: Object, **meta: Any) -> None:
        self.api.put(ENVIRONMENTS, objects.environment_object(spec, {}, namespace="prod", **meta))

    def put_store(self, name: str, spec: Object | None = None, status: Object | None = None) -> None:
        full = {"s3": {"bucket": "snapshots"}, **(spec or {})}
        found = {"observedGeneration": 1, "storeId": STORE_ID, "conditions": READY} if status is None else status
        self.api.put(STORES, objects.obj("SnapshotStore", name, full, found, namespace="stage"))

    def read(self) -> tuple[resources.Snapshot | None, v.SourceView]:
        return asyncio.run(observe_source.snapshot_of(self.ctx, self.rollback))

    def store(self) -> v.StoreView | None:
        async def found() -> v.StoreView | None:
            snapshot_, _, _, environment = await observe._sources(self.ctx, self.rollback)
            return await observe_source.store_of(self.ctx, self.rollback, snapshot_, environment, None)

        return asyncio.run(found())


@pytest.mark.parametrize(
    ("own", "access", "expected"),
    [("main", "ReadOnly", "drill"), ("main", "ReadWrite", None), ("drill", "ReadOnly", None)],
)
def test_a_rollback_in_place_from_a_store_that_is_only_read(own: str, access: str, expected: str | None) -> None:
    """In a drill: its record goes to the Environment's store. Where that is the same one, the Environment is not
    Ready."""
    reading = Reading(snapshotRef={"name": "before"}, targetEnvironmentRef=None)
    taken = {"source": SOURCE, "storeName": "drill", "storeId": STORE_ID, "conditions": COMPLETE}
    reading.api.put(SNAPSHOTS, objects.snapshot_object(None, taken, namespace="stage"))
    shop = objects.environment_object({"storeRef": {"name": own}}, {}, namespace="stage")
    reading.api.put(ENVIRONMENTS, shop)
    reading.put_store("drill", {"access": access})
    found = reading.store()
    assert (found.name if found is not None else None) == expected


def named(obj: Object, name: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "name": name}}


def removed(reading: Reading, type_: Any, name: str) -> None:
    del reading.api._objects[type_.path("prod", name)]


def test_a_granted_snapshot_is_read() -> None:
    found, view = Reading().read()
    assert found is not None
    assert (found.meta.namespace, view.namespace, view.into, view.watched) == ("prod", "prod", "stage", True)


HOSTILE: dict[str, Any] = {
    "no snapshot": lambda r: removed(r, SNAPSHOTS, "before"),
    "no environment": lambda r: removed(r, ENVIRONMENTS, "shop"),
    "no grant": lambda r: r.put_environment({}),
    "a grant for another namespace": lambda r: r.put_environment({"allowRollbackTo": [{"namespace": "stage-2"}]}),
    "an environment with another id": lambda r: r.put_environment(
        {"allowRollbackTo": [{"namespace": "stage"}]}, uid=OTHER_UID
    ),
}


def test_a_tenant_without_a_grant_learns_nothing() -> None:
    """Whether the Snapshot exists or not: the same message, after the same time, with the same fields in the status."""
    seen = set()
    for prepare in HOSTILE.values():
        reading = Reading()
        prepare(reading)
        found, view = reading.read()
        assert found is None
        world = replace(ready().see(0).world, snapshot=found, source=view)
        first = plan.decide(ready().status, reading.rollback.spec, world, ROLLBACK_ID, ready().now())
        assert isinstance(first, Wait)
        late = decided(lambda w, view=view: replace(w, snapshot=None, source=view), later=61)
        status = status_of(late)
        assert status.source_environment_id is None
        seen.add((first.reason, first.message, status.failure_reason, status.failure_message))
    assert len(seen) == 1
    assert "no Snapshot s1 that may be restored into namespace stage" in str(seen)


def test_a_namespace_that_is_not_watched_is_not_read() -> None:
    """The chart's ClusterRole would allow it, and the Snapshot would not be protected."""
    reading = Reading(namespaces=("stage", "dev"))
    found, view = reading.read()
    assert (found, view.watched) == (None, False)
    assert reading.api.requests == []
    assert Reading(namespaces=("stage", "prod")).read()[0] is not None


def test_a_namespace_that_cannot_be_read_is_like_one_that_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise Forbidden(403, "Forbidden", "no Role")

    reading = Reading()
    monkeypatch.setattr(reading.ctx.kube, "get", refused)
    found, view = reading.read()
    assert (found, view.watched) == (None, False)


@pytest.mark.parametrize("stage", ["Prepare", "Stop", "Drain", "Switch", "Resume", "HealthCheck", "Finish", "Ended"])
def test_later_the_other_namespace_is_not_needed(stage: str) -> None:
    """Its Role may be gone while the application of the target is stopped."""
    reading = Reading(stage=stage)
    assert reading.read()[0] is None
    assert reading.store() is None
    assert not any("/prod/" in path for _, path in reading.api.requests)


def test_its_own_namespace_may_be_named() -> None:
    reading = Reading(snapshotRef={"name": "before", "namespace": "stage"})
    reading.api.put(SNAPSHOTS, objects.snapshot_object(None, {"source": SOURCE}, namespace="stage"))
    found, view = reading.read()
    assert found is not None
    assert (found.meta.namespace, view) == ("stage", v.SourceView())


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, "own"),  # the store of the target, if it is the same
        ({"sourceStoreRef": {"name": "reader"}}, "reader"),
        ({"snapshotRef": {"name": "before"}}, "store"),  # in the same namespace: the Snapshot's own
        ({"snapshotRef": {"name": "before"}, "sourceStoreRef": {"name": "reader"}}, "reader"),
    ],
)
def test_the_store_that_is_read(spec: Object, name: str) -> None:
    reading = Reading(**spec)
    taken = {"source": SOURCE, "storeName": "store", "storeId": STORE_ID, "conditions": COMPLETE}
    reading.api.put(SNAPSHOTS, objects.snapshot_object(None, taken, namespace="stage"))
    assert reading.store() == v.StoreView(name, exists=False)
    reading.put_store(name, {"access": "ReadOnly", "serviceAccountName": "mover"})
    assert reading.store() == v.StoreView(name, id=STORE_ID, account="mover")
    reading.put_store(name, status={"observedGeneration": 0, "storeId": STORE_ID, "conditions": READY})
    view = reading.store()
    assert view is not None
    assert view.problem == "it has not been probed yet."
    assert Key("SnapshotStore", "stage", name) in reading.queued


def test_an_ordinary_rollback_asks_for_no_store() -> None:
    reading = Reading(snapshotRef={"name": "before"}, targetEnvironmentRef={"name": "copy"})
    own = {"source": {**SOURCE, "environmentId": STAGING_ID}, "storeName": "store", "conditions": COMPLETE}
    reading.api.put(SNAPSHOTS, objects.snapshot_object(None, own, namespace="stage"))
    assert reading.store() is None


def test_the_target_is_the_one_that_is_named_remembers_and_is_locked() -> None:
    reading = Reading()
    assert observe.environment_name(reading.rollback, None, None) == "copy"
    catalog = new_catalog()
    catalog.put("Rollback", objects.obj("Rollback", "back", reading.rollback.spec.wire(), {}, namespace="stage"))
    assert [e.key.name for e in operations(catalog, "stage", "copy")] == ["back"]
    assert operations(catalog, "prod", "shop") == []
    remembers = {
        "executedRollbacks": [
            {"name": "back", "specHash": spec_hash(reading.rollback.spec), "id": "x", "completedAt": at(0)}
        ]
    }
    target = resources.environment(named(objects.environment_object(None, remembers, namespace="stage"), "copy"))
    assert executed(target, reading.rollback)
    assert not executed(objects.environment(), reading.rollback)


# --- the Snapshot is protected ---------------------------------------------------------------------------------------


def user(namespace: str, status: Object, ref: Object) -> Object:
    return objects.obj(
        "Rollback", f"in-{namespace}", {"snapshotRef": ref}, status, namespace=namespace, uid=f"u-{namespace}"
    )


CLAIMS = {"snapshotNamespace": "prod", "snapshotName": "before"}


@pytest.mark.parametrize(
    ("rollback", "place"),
    [
        (user("prod", {}, {"name": "before"}), ("prod", "before")),
        (user("stage", CLAIMS, {"name": "before", "namespace": "prod"}), ("prod", "before")),
        # Naming a Snapshot of another namespace alone must not prevent its deletion.
        (user("evil", {}, {"name": "before", "namespace": "prod"}), None),
        (user("stage", {}, {"name": "before"}), ("stage", "before")),
    ],
)
def test_which_snapshot_a_rollback_uses(rollback: Object, place: tuple[str, str] | None) -> None:
    assert snapshot_used_by(rollback) == place
    catalog = new_catalog()
    catalog.put("Rollback", rollback)
    assert list(restored(catalog, "prod")) == (["before"] if place == ("prod", "before") else [])
    over = {**rollback, "status": {**rollback["status"], "conditions": COMPLETE}}
    over["metadata"] = {**rollback["metadata"], "resourceVersion": "200"}
    catalog.put("Rollback", over)
    assert list(restored(catalog, "prod")) == []


class Roles(Kube):
    """A client whose rights in one namespace are gone."""

    gone = ""

    async def list(self, type_: Any, namespace: str | None = None, **options: Any) -> list[Object]:
        if namespace == self.gone:
            raise Forbidden(403, "Forbidden", "no Role")
        return [o for o in await super().list(type_, namespace) if options["keep"](o)]


def users_of(api: ApiServer, *, namespaces: tuple[str, ...], catalog: Catalog, gone: str = "") -> str:
    kube = Roles(api, namespaces)  # type: ignore[arg-type]
    kube.gone = gone
    ctx: Any = SimpleNamespace(
        kube=kube, catalog=catalog, settings=SETTINGS.model_copy(update={"namespaces": namespaces})
    )
    return asyncio.run(snapshot_observe._used_by(ctx, objects.snapshot(namespace="prod")))


class Listing(ApiServer):
    """With lists of Rollbacks."""

    async def request(self, method: str, path: str, **options: Any) -> Object:
        if method == "GET" and path.endswith("/rollbacks"):
            self.requests.append((method, path))
            prefix = path if "/namespaces/" in path else "/apis/ocore.dev/v1alpha1/namespaces/"
            found = [o for p, o in self._objects.items() if p.startswith(prefix) and "/rollbacks/" in p]
            return {"items": found, "metadata": {}}
        return await super().request(method, path, **options)


def with_grant(*namespaces: str) -> Listing:
    api = Listing()
    granted = {"allowRollbackTo": [{"namespace": n} for n in namespaces]}
    api.put(ENVIRONMENTS, objects.environment_object(granted, {}, namespace="prod"))
    return api


@pytest.mark.parametrize("namespaces", [(), ("prod", "stage", "evil")])
def test_the_finalizer_looks_where_a_rollback_may_be(namespaces: tuple[str, ...]) -> None:
    """Without the catalog: it may be a moment old."""
    api, catalog = with_grant("evil", "stage"), new_catalog()
    assert users_of(api, namespaces=namespaces, catalog=catalog) == ""
    api.put(ROLLBACKS, user("evil", {}, {"name": "before", "namespace": "prod"}))
    assert users_of(api, namespaces=namespaces, catalog=catalog) == ""
    runs = user("stage", CLAIMS, {"name": "before", "namespace": "prod"})
    api.put(ROLLBACKS, runs)
    assert users_of(api, namespaces=namespaces, catalog=catalog) == "Rollback stage/in-stage"
    api.put(ROLLBACKS, {**runs, "status": {**CLAIMS, "conditions": COMPLETE}})
    assert users_of(api, namespaces=namespaces, catalog=catalog) == ""


def test_a_grant_that_was_removed_since_does_not_end_the_protection() -> None:
    api, catalog = with_grant(), new_catalog()
    runs = user("stage", CLAIMS, {"name": "before", "namespace": "prod"})
    catalog.put("Rollback", api.put(ROLLBACKS, runs))
    assert users_of(api, namespaces=(), catalog=catalog) == "Rollback stage/in-stage"
    # The catalog only says where to look.
    api.put(ROLLBACKS, {**runs, "status": {**CLAIMS, "conditions": COMPLETE}})
    assert users_of(api, namespaces=(), catalog=catalog) == ""


def test_a_deletion_without_grants_asks_about_its_own_namespace_only() -> None:
    """Retention deletes thousands."""
    api = with_grant()
    assert users_of(api, namespaces=("prod", "stage"), catalog=new_catalog()) == ""
    assert [path for _, path in api.requests if path.endswith("rollbacks")] == [
        "/apis/ocore.dev/v1alpha1/namespaces/prod/rollbacks"
    ]
    # Those that are granted, but not watched, have no Rollback of this operator.
    api = with_grant("elsewhere")
    assert users_of(api, namespaces=("prod",), catalog=new_catalog()) == ""
    assert not any("/elsewhere/" in path for _, path in api.requests)


def test_a_namespace_whose_role_is_gone_does_not_stop_the_others() -> None:
    """What was known of it counts; nothing else can be found out."""
    api, catalog = with_grant("stage"), new_catalog()
    watched = ("prod", "stage")
    assert users_of(api, namespaces=watched, catalog=catalog, gone="stage") == ""
    catalog.put("Rollback", user("stage", CLAIMS, {"name": "before", "namespace": "prod"}))
    assert users_of(api, namespaces=watched, catalog=catalog, gone="stage") == "Rollback stage/in-stage"
    with pytest.raises(Forbidden):
        users_of(api, namespaces=watched, catalog=catalog, gone="prod")


# --- the Jobs --------------------------------------------------------------------------------------------------------


def running(**status: Any) -> resources.Rollback:
    full = {
        "stage": "Restore", "snapshotId": OTHER_UID, "manifestSha256": "0" * 64, "environmentId": STAGING_ID,
        "sourceEnvironmentId": UID, "environmentName": "copy", **status,
    }  # fmt: skip
    spec = {"snapshotRef": {"name": "before", "namespace": "prod"}, "targetEnvironmentRef": {"name": "copy"}}
    return resources.rollback(objects.obj("Rollback", "back", spec, full, namespace="stage"))


def place(**changes: Any) -> JobInputs:
    return JobInputs(
        namespace="stage",
        store=objects.store({"s3": {"bucket": "own"}}),
        traits=PodTraits(),
        environment=objects.environment({"config": None}, uid=STAGING_ID),
        **changes,
    )


def test_a_restore_reads_one_store_and_records_in_the_other() -> None:
    back = running(sourceStoreName="reader")
    spec = {
        "s3": {
            "bucket": "prod",
            "caBundle": {"name": "ca"},
            "credentialsSecretRef": {"name": "read-only"},
            "pathStyle": False,
        },
        "access": "ReadOnly",
        "serviceAccountName": "reads",
    }
    job = JobBuilder(SETTINGS, place(source=objects.store(spec)), 1).restore(back, run_of(back, PROJECT), deadline=600)
    request = request_of(job)
    assert request["store"]["url"] == "s3://own"
    assert request["source"]["url"] == "s3://prod"
    assert request["environmentId"] == STAGING_ID
    assert (request["sourceEnvironmentId"], request["projectId"]) == (UID, PROJECT)
    assert request["record"]["environmentId"] == STAGING_ID
    assert request["source"]["s3"]["pathStyle"] is False
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "reads"
    secrets = {v_["name"]: v_.get("secret", {}).get("secretName") for v_ in pod["volumes"]}
    assert secrets["source-s3"] == "read-only"
    mounts = {m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m.get("readOnly")}
    assert {"/secrets/source-s3", "/secrets/source-s3-ca"} <= mounts


def test_a_claim_is_only_read() -> None:
    back = running(sourceStoreName="reader")
    claim = objects.store({"claim": {"claimName": "shared", "path": "prod"}, "access": "ReadOnly"})
    job = JobBuilder(SETTINGS, place(source=claim), 1).restore(back, run_of(back, PROJECT), deadline=600)
    assert request_of(job)["source"]["url"] == "file:///source-store/prod"
    (mount,) = (
        m for m in job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] if m["name"] == "source-store"
    )
    assert mount["readOnly"] is True
    probe = JobBuilder(SETTINGS, replace(place(), store=claim), "1").probe_store()
    assert request_of(probe)["store"]["readOnly"] is True
    (mount,) = (m for m in probe["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] if m["name"] == "store")
    assert mount["readOnly"] is True


def test_in_place_nothing_changes() -> None:
    back = running(sourceEnvironmentId=STAGING_ID)
    job = JobBuilder(SETTINGS, place(), 1).restore(back, run_of(back, PROJECT), deadline=600)
    assert {"source", "sourceEnvironmentId", "projectId"}.isdisjoint(request_of(job))
    assert not source.reads_elsewhere(back.status)
    assert not source.is_copy(running(sourceEnvironmentId=None).status)  # one that an older version started


@pytest.mark.parametrize(
    ("status", "store", "read"),
    [
        ({"sourceStoreName": "reader"}, "own", "reader"),
        ({}, "own", None),
        ({"sourceEnvironmentId": STAGING_ID, "sourceStoreName": "reader"}, "own", "reader"),
        ({"sourceEnvironmentId": STAGING_ID}, "store", None),  # in place: the Snapshot's own store, for the record, too
    ],
)
def test_which_stores_a_job_gets(status: Object, store: str, read: str | None) -> None:
    reading = Reading()
    for name in ("own", "reader", "store"):
        reading.put_store(name)
    environment = resources.environment(reading.api.read(ENVIRONMENTS, "stage", "copy"))
    taken = objects.snapshot(None, {"storeName": "store", "storeId": STORE_ID}, namespace="stage")
    world = SimpleNamespace(source=v.SourceView(), snapshot=taken, environment=environment)
    observed: Any = SimpleNamespace(rollback=running(**status), world=world)
    base = replace(
        place(),
        environment=replace(environment, spec=environment.spec.model_copy(update={"filestore": None})),
        store=resources.store(reading.api.read(STORES, "stage", "own")),
    )

    async def loaded() -> tuple[JobInputs, JobInputs, Any]:
        restore = await building._with_stores_of_restore(reading.ctx, observed, base)
        switch = await building._with_place(reading.ctx, base, building._place_of_snapshot(observed))
        return restore, switch, await building._store_of_record(reading.ctx, observed)

    restore, switch, back = asyncio.run(loaded())
    assert (restore.store.meta.name, restore.source.meta.name if restore.source else None) == (store, read)
    assert (switch.store.meta.name, back.meta.name) == (store, store)
