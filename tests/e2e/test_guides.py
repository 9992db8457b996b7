"""Commands of docs/guides, as the pages print them. What is another's name in a page is a variable, or the site has the
same one."""

import base64
import re
import uuid
from pathlib import Path

import pytest

from ocore_mover.store.age import Identity
from support.cluster.cluster import GROUP, REPOSITORY, Cluster, is_true
from support.cluster.procedures import Shell, blocks, section
from support.cluster.promises import marker, set_marker
from support.cluster.site import S3_READER_KEY, S3_READER_SECRET, Servers, Site, make_site, secret
from support.mover.signing_key import Key

GUIDES = REPOSITORY / "docs/guides"


def test_another_bucket(cluster: Cluster, servers: Servers, tmp_path: Path) -> None:
    page = (GUIDES / "another-bucket.md").read_text()
    exported, create, move, left = blocks(page)
    with make_site(cluster, servers) as site:
        site.completed("Snapshot", site.snapshot("base"))
        names = {
            "ENVIRONMENT": site.environment, "OLD": site.store, "NEW": "moved", "BUCKET": servers.bucket(),
            "PREFIX": "production", "ENDPOINT": site.endpoint, "CREDENTIALS": "s3",
        }  # fmt: skip
        assert set(re.findall(r"(\w+)=", exported)) == names.keys()
        shell = Shell(cluster, site.namespace, tmp_path, names)
        shell.run(create, 120)
        assert "is Complete after" in shell.run(move, 120)
        stores = {o["status"]["storeName"]: o for o in cluster.objects("Snapshot", site.namespace)}
        assert stores.keys() == {site.store, "moved"}
        assert is_true(stores["moved"], "Complete")
        assert shell.run(left, 30).split() == ["base", site.store]
        # A rollback to what stayed behind still works.
        set_marker(site, 3)
        site.completed("Rollback", site.rollback("behind", "base", undoWindowSeconds=0))
        assert marker(site) == 0


def test_upgrade_and_return(cluster: Cluster, site: Site, tmp_path: Path) -> None:
    before, after = blocks(section("By hand", GUIDES / "upgrade.md"))
    earlier = {o["metadata"]["name"] for o in cluster.objects("Rollback", site.namespace)}
    set_marker(site, 0)
    shell = Shell(cluster, site.namespace, tmp_path, {})
    assert "is Complete after" in shell.run(before, 180)
    set_marker(site, 3)
    assert "is Complete after" in shell.run(after, 300, typed=f"{site.environment}\n")
    (rollback,) = (o for o in cluster.objects("Rollback", site.namespace) if o["metadata"]["name"] not in earlier)
    assert rollback["spec"]["restoreImage"] == "Always"
    assert marker(site) == 0
    site.gone("Rollback", rollback["metadata"]["name"])


def test_the_secret_of_another_server(cluster: Cluster, site: Site, tmp_path: Path) -> None:
    (create,) = blocks((GUIDES / "other-postgresql.md").read_text())
    named = re.search(r"lines: (.*)", create)
    assert named is not None
    typed = named[1].replace("…", "ẞecret =#'").replace(", ", "\n")
    (tmp_path / "typed").write_text(f"{typed}\n")
    shell = Shell(cluster, site.namespace, tmp_path, {"EDITOR": "cp typed"}, start_in=tmp_path)
    shell.run(create, 30)
    assert not (tmp_path / "db.env").exists()
    try:
        made = cluster.core.read_namespaced_secret("shop-db", site.namespace)
        assert made.data.keys() == {"host", "port", "dbname", "user", "password"}
        assert base64.b64decode(made.data["password"]).decode() == "ẞecret =#'"
    finally:
        cluster.delete("Secret", "shop-db", site.namespace)


def test_what_the_operator_may_do(cluster: Cluster, site: Site, tmp_path: Path) -> None:
    (ask,) = blocks(section("Ask the cluster", GUIDES / "rights.md"))
    lines = Shell(cluster, site.namespace, tmp_path, {}).run(ask, 30).splitlines()
    rights = {line.split()[0]: line for line in lines if line.strip()}
    assert "create" in rights["jobs.batch"]
    # As with rbac.jobIdentities, which the tests' operator has: it reads none.
    assert rights["secrets"].endswith("[create delete]")
    assert "pods/exec" not in rights


@pytest.mark.timeout(900)
def test_the_drill(cluster: Cluster, servers: Servers, tmp_path: Path) -> None:
    """From the remote copy of an environment that is encrypted and signed, and whose namespace is gone."""
    exported, find, restore = blocks((GUIDES / "drill.md").read_text())
    ann, bob, id_ = Identity.generate(), Identity.generate(), str(uuid.uuid4())
    key = Key(tmp_path, "signing")
    with make_site(cluster, servers, environment={"id": id_}) as old:
        copies = servers.bucket(old.endpoint)
        far = {"bucket": copies, "prefix": "copies", "endpoint": old.endpoint, "credentialsSecretRef": {"name": "s3"}}
        cluster.apply(
            secret("signing", old.namespace, **{"ssh-privatekey": key.file.read_text()}),
            {
                "apiVersion": GROUP,
                "kind": "SnapshotStore",
                "metadata": {"name": "far", "namespace": old.namespace},
                "spec": {"s3": far},
            },
        )
        own = {
            "encryption": {"recipients": [ann.recipient, bob.recipient]},
            "signing": {"publicKeys": [key.public], "secretRef": {"name": "signing"}},
        }
        cluster.patch("SnapshotStore", old.store, old.namespace, {"spec": own})
        cluster.apply(old.environment_object(id=id_, remoteStoreRef={"name": "far"}))
        old.environment_ready()
        for marked, name in ((4, "first"), (5, "second")):
            set_marker(old, marked)
            taken = old.completed("Snapshot", old.snapshot(name))
        assert taken["status"]["signature"]["sequence"] == 2
        cluster.wait("Snapshot", "second", old.namespace, lambda o: is_true(o, "RemoteCopied"), 180, "copied")
        cluster.delete("Namespace", old.namespace)
        cluster.wait_gone("Namespace", old.namespace, None, 180)

    (tmp_path / "typed.txt").write_text(f"{bob.secret}\n")
    with make_site(cluster, servers, environment={"id": id_, "type": "staging", "neutralize": {"command": []}}) as new:
        new.environment_ready()
        names = {
            "ENVIRONMENT": new.environment, "BUCKET": copies, "PREFIX": "copies", "ENDPOINT": new.endpoint,
            "ACCESS_KEY": S3_READER_KEY, "SECRET_KEY": S3_READER_SECRET, "PUBLIC_KEY": key.public,
            "IDENTITY": str(tmp_path / "typed.txt"),
        }  # fmt: skip
        assert set(re.findall(r"\b([A-Z_]+)=", exported)) == names.keys()
        shell = Shell(cluster, new.namespace, tmp_path, names)
        found = shell.run(find, 660)
        assert "the newest signed snapshot has number 2" in found
        assert "is Complete after" in shell.run(restore, 300)
        assert marker(new) == 5
        (rollback,) = cluster.objects("Rollback", new.namespace)
        assert rollback["status"]["neutralize"]["provenAt"]
