"""What the catalog keeps of an Environment and of a SnapshotStore, from their raw JSON. Pure."""

from ocore_crds import conditions as c
from ocore_crds.resources import layouts
from ocore_operator.entries import targets
from ocore_operator.entries.environments import EnvironmentEntry, Target
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.kube.catalog import common, shared
from ocore_operator.kube.resources import Object


def of_environment(obj: Object) -> EnvironmentEntry:
    """Of an Environment. It is never idle."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    by_type = {x["type"]: x for x in status.get("conditions") or ()}
    pins = status.get("pins")
    return EnvironmentEntry(
        **common("Environment", obj),
        store=shared(spec.get("storeRef", {}).get("name") or ""),
        remote_store=shared((spec.get("remoteStoreRef") or {}).get("name") or ""),
        ready=shared(by_type.get(c.READY, {}).get("status", "Unknown")),
        rollback_ready=shared(by_type.get(c.ROLLBACK_READY, {}).get("status", "Unknown")),
        target=target_of(obj),
        pins=(pins["pinned"], pins["limit"]) if pins else None,
    )


def of_store(obj: Object) -> StoreEntry:
    """Of a SnapshotStore. It is never idle."""
    status = obj.get("status", {})
    ready: Object = next((x for x in status.get("conditions") or () if x["type"] == c.READY), {})
    orphans = status.get("orphans")
    return StoreEntry(
        **common("SnapshotStore", obj),
        ready=shared(ready.get("status", "Unknown")),
        ready_reason=shared(ready.get("reason", "")),
        store_id=str(status.get("storeId") or ""),
        orphans=(int(orphans.get("objects") or 0), int(orphans.get("bytes") or 0)) if orphans else None,
        skipped=int((status.get("import") or {}).get("skipped") or 0),
    )


def target_of(environment: Object) -> Target:
    """What the rollbacks of an Environment replace, as its status describes it."""
    spec, probe = environment.get("spec", {}), environment.get("status", {}).get("probe") or {}
    filestore = spec.get("filestore") or {}
    named: Object = spec.get("database") or {}
    has_database, cnpg = bool(named), named.get("cnpg")
    return Target(
        secret=(named.get("secretRef") or {}).get("name") or "",
        cluster=targets.of_cluster(cnpg["cluster"], cnpg.get("database")) if cnpg else "",
        server=probe.get("serverIdentity") or "" if has_database else "",
        database=probe.get("databaseName") or "" if has_database else "",
        claim=filestore.get("claimName") or "",
        path=filestore.get("path") or "",
        layout=filestore.get("layout") or layouts.DEFAULT,
    )
