"""Commands of docs/guides, as the pages print them. What is another's name in a page is a variable, or the site has the
same one."""

import base64
import re
from pathlib import Path

from support.cluster.cluster import REPOSITORY, Cluster, is_true
from support.cluster.procedures import Shell, blocks, section
from support.cluster.promises import marker, set_marker
from support.cluster.site import Servers, Site, make_site

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
    assert "secrets" not in rights
    assert "pods/exec" not in rights
