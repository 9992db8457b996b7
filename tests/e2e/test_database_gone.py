"""The live database of a running application is dropped, and its filestore's folder removed: a Rollback brings both
back."""

from psycopg import sql

from support.cluster.application import drop_everything
from support.cluster.cluster import Cluster, condition, is_true
from support.cluster.promises import fresh, holds_all_promises
from support.cluster.site import Servers, Site

ORDERS = "SELECT count(*) FROM ir_attachment"


def test_row_39_a_dropped_database_comes_back(cluster: Cluster, servers: Servers, site: Site) -> None:
    base = fresh("base")
    site.load(7)
    with servers.admin(site.host) as connection:
        name = sql.Identifier(site.database)
        connection.execute(sql.SQL("ALTER DATABASE {} SET work_mem TO '5MB'").format(name))
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS 'the shop'").format(name))
    site.completed("Snapshot", site.snapshot(base))
    orders = site.query(ORDERS)
    assert orders[0][0] > 0

    drop_everything(site)
    refused = site.failed("Snapshot", site.snapshot(fresh("too-late")), "DatabaseNotFound")
    assert "a Rollback creates it" in condition(refused, "Failed")["message"]  # type: ignore[index]

    name_of_rollback = fresh("gone")
    site.rollback(name_of_rollback, base, undoWindowSeconds=0)
    # Its preflight has the Environment probed again.
    environment = cluster.wait(
        "Environment", site.environment, site.namespace, lambda o: not is_true(o, "Ready"), 60, "not ready"
    )
    assert condition(environment, "Ready")["reason"] == "DatabaseNotFound"  # type: ignore[index]
    assert is_true(environment, "RollbackReady")
    assert "creates what does not exist" in condition(environment, "RollbackReady")["message"]  # type: ignore[index]
    obj = site.completed("Rollback", name_of_rollback)
    assert obj["status"]["liveMissing"] is True
    assert "previousDatabase" not in obj["status"]
    retained = condition(obj, "PreviousRetained")
    assert retained is not None
    assert (retained["status"], retained["reason"]) == ("False", "NoPrevious")
    assert site.query(ORDERS) == orders
    assert site.query(
        "SELECT current_setting('work_mem'), pg_get_userbyid(datdba) FROM pg_database"
        " WHERE datname = current_database()"
    ) == [("5MB", site.role)]
    holds_all_promises(site)
    site.completed("Snapshot", site.snapshot(fresh("after")))
