"""Rows of docs/failure-modes.md about dumps and stores, and about what a dump that failed is not."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from support.cluster import node
from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, unique, wait_for
from support.cluster.failpoints import armed, running_pod
from support.cluster.promises import (
    fresh,
    holds_all_promises,
    is_no_snapshot,
    manifest,
    old_or_new,
    set_marker,
    uploads,
)
from support.cluster.site import Servers, Site, Sites, secret
from support.mover.faulty_http import Faults, FaultyProxy, Request

MIB = 1024 * 1024


@contextmanager
def ballast(site: Site, rows: int = 50_000) -> Iterator[None]:
    """Two tables whose dump is larger than any single upload: some 100 MiB for 50,000 rows of what hardly
    compresses."""
    for name in ("ballast_a", "ballast_b"):
        site.ballast(name, rows)
    try:
        yield
    finally:
        with site.connect() as connection:
            connection.execute("DROP TABLE ballast_a, ballast_b")


# --- 10, 11: dumps that fail ----------------------------------------------------------------------------------

#: Waits for a pg_dump, lets it run in slices of some milliseconds until its processes together have written so many
#: bytes ($1), and kills one of them ($2: first or last). Nothing but what bash has built in: a dump is over before
#: three programs have been started.
_KILL_DUMP = """
exec {never}<> <(:)
pause() { read -r -t "$1" -u "$never" || true; }
find_leader() { # the one whose parent is no pg_dump has the smallest id
  leader=
  for d in /proc/[0-9]*; do
    IFS= read -r -d '' program 2>/dev/null <"$d/cmdline" || continue
    [[ $program == */pg_dump ]] || continue
    [ -n "$leader" ] && [ "${d#/proc/}" -ge "$leader" ] || leader=${d#/proc/}
  done
  [ -n "$leader" ]
}
stop_all() { # workers that come while we look are stopped, too
  pids=() sum=0
  kill -STOP "$leader" || return
  read -r -a pids <"/proc/$leader/task/$leader/children" || true
  pids=("$leader" "${pids[@]}")
  kill -STOP "${pids[@]}"
  for p in "${pids[@]}"; do
    while read -r key value; do [ "$key" != wchar: ] || sum=$((sum + value)); done 2>/dev/null <"/proc/$p/io"
  done
}
until [ "$SECONDS" -gt 90 ]; do
  find_leader || { pause 0.01; continue; }
  while stop_all; do # fails once it has ended: `pg_dump --version` comes first
    if [ "$sum" -ge "$1" ]; then
      victim=$leader
      if [ "$2" = last ]; then for p in "${pids[@]}"; do [ "$p" -le "$victim" ] || victim=$p; done; fi
      kill -9 "$victim"
      kill -CONT "${pids[@]}"
      echo "$sum"
      # The others of this dump follow: the next call must not take them for the next attempt's.
      while find_leader && [ "$SECONDS" -le 90 ]; do pause 0.02; done
      exit 0
    fi
    kill -CONT "${pids[@]}"
    pause 0.005
  done 2>/dev/null
done
echo "no pg_dump wrote $1 bytes" >&2
exit 1
"""


@pytest.mark.exclusive  # kills a pg_dump of the node: it must be the only one
@pytest.mark.long  # two minutes; tests/unit/mover/database/test_dump.py proves the row at once
@pytest.mark.parametrize("victim", ["first", "last"])
def test_row_10_truncated_dumps_are_no_snapshots(site: Site, victim: str) -> None:
    """pg_dump's leader, or one of its workers, is killed after a random number of bytes in each attempt."""
    chance = random.Random(f"row 10 {victim}")  # noqa: S311 - the same places in every run
    with ballast(site):
        name = site.snapshot(fresh("truncated"), deletionPolicy="Delete")
        for _ in range(3):
            node.run(_KILL_DUMP, str(chance.randrange(1, 12 * MIB)), victim, timeout=120)
        obj = site.failed("Snapshot", name, "DumpFailed", 120)
    assert obj["status"]["attempt"] == 3
    assert "pg_dump" in str(condition(obj, "Failed"))
    is_no_snapshot(site, obj)
    site.failed("Rollback", site.rollback(fresh("refused"), name), "SnapshotNotComplete", 90)
    holds_all_promises(site)


def test_row_11_bad_host(cluster: Cluster, site: Site) -> None:
    """The environment was in order; its database's address leads nowhere by now."""
    host = f"nowhere.{site.namespace}.svc.cluster.local"
    cluster.apply(secret("database", site.namespace, host=host, **site.credentials))
    try:
        obj = site.failed("Snapshot", site.snapshot(fresh("bad-host")), "DatabaseUnreachable", 150)
        assert host in str(condition(obj, "Failed"))
        is_no_snapshot(site, obj)
    finally:
        cluster.apply(secret("database", site.namespace, host=site.host, **site.credentials))
        # The next probe, not the last one, says how it is.
        cluster.apply(site.environment_object(jobs={"parallelism": 2}))
    site.environment_ready()
    # The kubelet updates a mounted Secret within a minute or two, and at once where the pod changes.
    touched = {"metadata": {"annotations": {"touched": unique("at")}}}
    cluster.patch("Pod", site.app_pod()["metadata"]["name"], site.namespace, touched)
    wait_for("the application has the right address again", lambda: site.in_app("check")[0] == 0, 180, interval=3)
    holds_all_promises(site)


@pytest.fixture(scope="module")
def too_late(sites: Sites) -> tuple[Object, Object]:
    """A Snapshot whose dump waits for a table that another session has locked, until the deadline ends it; and a
    Rollback to it, which waited for it."""
    site = sites.of()
    set_marker(site, 19)
    with site.connect() as connection:
        connection.execute("BEGIN; LOCK sale_order IN ACCESS EXCLUSIVE MODE")
        name = site.snapshot(fresh("locked"), timeoutSeconds=30)
        rollback = site.rollback(fresh("refused"), name)
        site.cluster.wait(
            "Rollback",
            rollback,
            site.namespace,
            lambda o: (condition(o, "Reconciling") or {}).get("reason") == "WaitingForSnapshot",
            60,
            "waits",
        )
        snapshot = site.failed("Snapshot", name, "DeadlineExceeded", 30 + 60)
    is_no_snapshot(site, snapshot)
    refused = site.failed("Rollback", rollback, "SnapshotNotComplete", 90)
    assert not site.cluster.objects("Job", site.namespace, f"ocore.dev/uid={refused['metadata']['uid']}")
    old_or_new(site, refused)
    holds_all_promises(site)
    return snapshot, refused


def test_row_11_time_out(too_late: tuple[Object, Object]) -> None:
    snapshot, _ = too_late
    assert "30 s" in str(condition(snapshot, "Failed"))


def test_row_19_restore_from_an_incomplete_snapshot(too_late: tuple[Object, Object]) -> None:
    """A rollback to it waits while it runs, and is refused once it has failed."""
    _, refused = too_late
    assert (refused["status"]["attempt"], "startedAt" in refused["status"]) == (0, False)


# --- 12, 13: the store ----------------------------------------------------------------------------------------


def node_address(cluster: Cluster) -> str:
    """An address of the node, on which a server of this process can be reached by pods."""
    (found,) = cluster.objects("Node")
    return next(str(a["address"]) for a in found["status"]["addresses"] if a["type"] == "InternalIP")


def test_row_12_no_manifest_no_snapshot(cluster: Cluster, servers: Servers, site: Site) -> None:
    """The store refuses the manifest and nothing else, or takes it with good words and forgets it."""
    server = urlsplit(servers.s3())
    assert server.hostname
    assert server.port
    with FaultyProxy(server.port, target_host=server.hostname, address=node_address(cluster)) as proxy:
        through = unique("through")
        store = cluster.get("SnapshotStore", site.store, site.namespace)
        assert store is not None
        spec = {"s3": {**store["spec"]["s3"], "endpoint": proxy.endpoint}}
        meta = {"name": through, "namespace": site.namespace}
        cluster.apply({"apiVersion": GROUP, "kind": "SnapshotStore", "metadata": meta, "spec": spec})
        cluster.apply(site.environment_object(storeRef={"name": through}))
        try:
            site.completed("Snapshot", site.snapshot(fresh("through")))

            def of_manifest(request: Request) -> bool:
                return request.method == "PUT" and request.path.partition("?")[0].endswith("/manifest.json")

            for status, reason in ((403, "StoreAccessDenied"), (200, "Corrupt")):
                proxy.set(Faults(refuse=lambda r, status=status: status if of_manifest(r) else None))
                refused = sum(of_manifest(r) for r in proxy.requests)
                obj = site.failed("Snapshot", site.snapshot(fresh("no-manifest")), reason, 150)
                assert sum(of_manifest(r) for r in proxy.requests) > refused
                is_no_snapshot(site, obj)
                name = obj["metadata"]["name"]
                cluster.wait("Snapshot", name, site.namespace, lambda o: o["status"].get("residue") == "None", 90)
        finally:
            cluster.apply(site.environment_object())
            cluster.delete("SnapshotStore", through, site.namespace)
    site.environment_ready()
    holds_all_promises(site)


def test_row_13_multipart(site: Site) -> None:
    """Objects beyond 16 MiB on the real server, each part with its checksum; what a killed attempt had begun is
    aborted."""
    s3, bucket = site.servers.s3_client(), site.bucket
    with ballast(site, rows=80_000):
        name = site.snapshot(
            fresh("multipart"),
            annotations=armed("snapshot-start=sleep:6@2"),
            verify="Full",
            deletionPolicy="Delete",
        )
        pod = running_pod(site, "Snapshot", name, "snapshot")
        begun = wait_for("an upload of several parts", lambda: uploads(site), 90, interval=0.02)
        node.kill(pod, "ocore_mover snapshot")
        obj = site.completed("Snapshot", name, 150)
    assert obj["status"]["attempt"] == 2
    assert is_true(obj, "Verified")
    assert all(obj["status"]["id"] in key for key in begun)
    largest = max(manifest(site, obj)["database"]["files"], key=lambda f: f["size"])
    assert largest["size"] > 16 * MIB
    stored = s3.head_object(Bucket=bucket, Key=f"test/{largest['key']}")
    assert stored["ContentLength"] == largest["size"]
    assert "-" in stored["ETag"], "not stored by a multipart upload"
    wait_for("stale uploads aborted", lambda: uploads(site) == [], 90)
    holds_all_promises(site)
