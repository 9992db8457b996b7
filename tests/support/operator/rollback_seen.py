"""The Snapshot and the Environment of a rollback as an operator reads them, by what a plan asks of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from ocore_crds import conditions as c
from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT
from ocore_crds.model import LocalRef
from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.reports.replication import Replication
from ocore_crds.resources.environment import Database, EnvironmentSpec, EnvironmentStatus, ProbeStatus
from ocore_crds.resources.neutralize import Neutralize
from ocore_crds.resources.remote_copy import RemoteCopy
from ocore_crds.resources.rollback import RollbackTarget
from ocore_crds.resources.snapshot import EvidenceStatus, SnapshotSource, SnapshotSpec, SnapshotStatus
from ocore_operator import clock
from ocore_operator.kube.resources import Environment, Meta, Snapshot

START = datetime(2026, 1, 1, tzinfo=UTC)
AT = clock.text(START)
ENVIRONMENT_ID = "e0000000-0000-4000-8000-000000000001"
PROJECT_ID = "d0000000-0000-4000-8000-000000000001"
StatusT = TypeVar("StatusT", SnapshotStatus, EnvironmentStatus)


def _meta(name: str) -> Meta:
    return Meta("ns", name, f"uid-{name}", 1, "1", AT, None, (), {})


def environment(**facts: Any) -> Environment:
    """An Environment with a database, of which nothing is known yet, changed as in :func:`altered_environment`."""
    spec = EnvironmentSpec(
        project_id=PROJECT_ID,
        type="production",
        store_ref=LocalRef(name="store"),
        database=Database(secret_ref=LocalRef(name="db")),
        workloads=(),
    )
    status = EnvironmentStatus(id=ENVIRONMENT_ID, observed_generation=1)
    return altered_environment(Environment(ENVIRONMENT, _meta("shop"), spec, status), **facts)


def altered_environment(found: Environment | None, **facts: Any) -> Environment:
    """Another one, of which these facts are true:

    - `name`, `id`, `project_id`, `type`, `store_name`, `capacity` (bytes), `has_database`, `has_admin`, `target`,
      `workloads_given`, `scratch_class`
    - `probed_at` (None: no probe of its present spec), and of that probe: `server_major`, `database_name`,
      `used_bytes`, `replication_rights`
    - RollbackReady: `rollback_ready`, else `not_ready_reason`, `not_ready_message`, `proof_failed`; Ready:
      `snapshot_ready`, else `snapshot_not_ready_reason`, `snapshot_not_ready_message`
    - `neutralize_command`, `neutralize_sql`, `neutralize_image`
    """
    assert found is not None
    spec, status = found.spec, found.status
    if (target := facts.pop("target", None)) is not None:
        assert isinstance(target, RollbackTarget)
        spec, status = target.applied_to(spec, status)
    spec = _spec(spec, facts)
    status = _probed(status, found.meta.generation, facts)
    status = _ready(status, c.ROLLBACK_READY, "rollback_ready", "not_ready", facts)
    status = _ready(status, c.READY, "snapshot_ready", "snapshot_not_ready", facts)
    status = status.model_copy(update={"id": facts.pop("id", status.id)})
    meta = replace(found.meta, name=facts.pop("name", found.meta.name))
    assert not facts, facts
    return replace(found, meta=meta, spec=spec, status=status)


def _spec(spec: EnvironmentSpec, facts: dict[str, Any]) -> EnvironmentSpec:
    update: dict[str, Any] = {key: facts.pop(key) for key in ("project_id", "type") if key in facts}
    if "store_name" in facts:
        update["store_ref"] = LocalRef(name=facts.pop("store_name"))
    if "workloads_given" in facts:
        update["workloads"] = () if facts.pop("workloads_given") else None
    if "scratch_class" in facts:
        update["scratch"] = spec.scratch.model_copy(update={"storage_class_name": facts.pop("scratch_class")})
    database = spec.database
    if not facts.pop("has_database", True):
        database = None
    if "capacity" in facts and (capacity := (facts.pop("capacity"),)) and database is not None:
        text = str(capacity[0]) if capacity[0] is not None else None
        database = database.model_copy(update={"capacity": text})
    if "has_admin" in facts and (admin := (facts.pop("has_admin"),)) and database is not None:
        database = database.model_copy(update={"admin_secret_ref": LocalRef(name="admin") if admin[0] else None})
    update["database"] = database
    known = spec.neutralize or Neutralize()
    command = facts.pop("neutralize_command", known.runs_command)
    sql = facts.pop("neutralize_sql", known.sql is not None)
    image = facts.pop("neutralize_image", known.image)
    neutralize = Neutralize.model_validate(
        {
            "command": ["odoo", "neutralize"] if command else [],
            **({"sql": {"configMapRef": {"name": "scripts"}}} if sql else {}),
            **({"image": image} if image else {}),
        }
    )
    return spec.model_copy(update={**update, "neutralize": neutralize})


def _probed(status: EnvironmentStatus, generation: int, facts: dict[str, Any]) -> EnvironmentStatus:
    probe = status.probe
    if "probed_at" in facts:
        began: datetime | None = facts.pop("probed_at")
        at = {"time": clock.exact(began), "started_at": clock.exact(began)} if began is not None else {}
        known = probe or ProbeStatus(time=AT, generation=generation)
        probe = known.model_copy(update=at) if began is not None else None
    fields = {"server_major": "server_major", "database_name": "database_name", "used_bytes": "database_used_bytes"}
    update: dict[str, Any] = {fields[key]: facts.pop(key) for key in fields if key in facts}
    if "replication_rights" in facts:
        update["replication"] = Replication(missing_rights=facts.pop("replication_rights"))
    return status.model_copy(update={"probe": probe.model_copy(update=update) if probe is not None else None})


def _ready(status: EnvironmentStatus, type_: str, name: str, why: str, facts: dict[str, Any]) -> EnvironmentStatus:
    ready = facts.pop(name, None)
    reason, message = facts.pop(f"{why}_reason", None), facts.pop(f"{why}_message", "")
    if name == "rollback_ready" and "proof_failed" in facts:
        ready, reason, message = None, c.PROOF_FAILED, facts.pop("proof_failed")
    if ready is None and reason is None:
        return status
    return _with(status, type_, value=bool(ready and not reason), reason=reason or "", message=message)


def _with(status: StatusT, type_: str, *, value: bool, reason: str = "", message: str = "") -> StatusT:
    """With that condition; False without a reason: with none."""
    others = tuple(x for x in status.conditions if x.type != type_)
    if value or reason:
        text: Any = "True" if value else "False"
        others = c.set_condition(others, type_, text, reason or "Ready", message, now=AT, generation=1)
    return status.model_copy(update={"conditions": others})


def snapshot(**facts: Any) -> Snapshot:
    """A Snapshot that is Complete and that this operator took, changed as in :func:`altered_snapshot`."""
    source = SnapshotSource(environment_id="", environment_name="", environment_type="", project_id="")
    status = _with(SnapshotStatus(id="s", attempt=1, source=source, store_name="store"), c.COMPLETE, value=True)
    spec = SnapshotSpec.model_validate({"environmentRef": {"name": "shop"}})
    return altered_snapshot(Snapshot(SNAPSHOT, _meta("s1"), spec, status), **facts)


def altered_snapshot(found: Snapshot | None, **facts: Any) -> Snapshot:
    """Another one, of which these facts are true: fields of its status and of what it recorded of its environment, and

    - `name`, `uid`, `deleting`, `complete`, `failed`, `waits_for`
    - `broken`: how the data in its own store is damaged
    - `remote_store` (empty: no copy), `remote_store_id`, `remote_state`
    - `database_bytes`, `incomplete`
    - `foreign_image`: it was imported or adopted
    """
    assert found is not None
    status, meta = found.status, found.meta
    meta = replace(meta, name=facts.pop("name", meta.name), uid=facts.pop("uid", meta.uid))
    if "waits_for" in facts:
        status = _with(status, c.RECONCILING, value=True, reason=c.RUNNING, message=facts.pop("waits_for"))
    if "deleting" in facts:
        meta = replace(meta, deleted=AT if facts.pop("deleting") else None)
    for key, type_ in (("complete", c.COMPLETE), ("failed", c.FAILED)):
        if key in facts:
            status = _with(status, type_, value=facts.pop(key))
    if "broken" in facts:
        status = _with(status, c.VERIFIED, value=False, reason=c.CORRUPT, message=facts.pop("broken"))
    if "remote_store" in facts:
        status = status.model_copy(update={"remote": _copy(facts)})
    update: dict[str, Any] = {}
    if "database_bytes" in facts:
        update["sizes"] = SnapshotSizes(database_bytes=facts.pop("database_bytes"))
    if "incomplete" in facts:
        update["evidence"] = EvidenceStatus(incomplete=facts.pop("incomplete"))
    if "foreign_image" in facts:
        update["attempt"] = 0 if facts.pop("foreign_image") else 1
    if "commit" in facts:
        facts["commit_sha"] = facts.pop("commit")
    recorded = {key: facts.pop(key) for key in tuple(facts) if key in SnapshotSource.model_fields}
    assert status.source is not None
    update["source"] = status.source.model_copy(update=recorded)
    status.check_fields(facts)
    return replace(found, meta=meta, status=status.model_copy(update={**update, **facts}))


def _copy(facts: dict[str, Any]) -> RemoteCopy | None:
    name, id_ = facts.pop("remote_store"), facts.pop("remote_store_id", "")
    state = facts.pop("remote_state", "completed").capitalize()
    return RemoteCopy(state=state, store_name=name, store_id=id_, requested_at=AT) if name else None
