"""Two rollbacks, the second one inside the undo window of the first: the first one's previous database goes all the
same."""

from dataclasses import replace

from support.mover.beside import command, stand_beside, was_killed, which
from support.mover.site import Site

LATER = "22222222-3333-4444-8555-666677778888"


def again(site: Site) -> None:
    """A second copy beside the live database."""
    site.sql("DROP TABLE which")
    stand_beside(site)


def test_cleanup_after_a_later_rollback(site_any: Site) -> None:
    first, second = site_any, replace(site_any, rollback_id=LATER)
    stand_beside(first)
    assert command(first, "switch", "--now").code == 0
    # The live database of now carries the first one's mark; the later rollback makes it the previous one.
    again(second)
    assert command(second, "switch", "--now").code == 0
    assert first.databases() == {first.live, first.names.previous, second.names.previous}

    done = command(first, "cleanup", "--what", "previous")
    assert done.result["payload"]["databasesDropped"] == [first.names.previous]
    assert first.databases() == {first.live, second.names.previous}
    assert which(second) == "new"
    # Again, as after a kill before the folders were removed: nothing left to drop, and it is well.
    assert command(first, "cleanup", "--what", "previous").code == 0
    # The later one can still be undone.
    assert command(second, "switch", "--now", "--back").code == 0
    assert first.databases() == {first.live, second.names.restored}


def test_cleanup_opens_what_a_later_killed_switch_closed(site_any: Site) -> None:
    first, second = site_any, replace(site_any, rollback_id=LATER)
    stand_beside(first)
    assert command(first, "switch", "--now").code == 0
    again(second)
    assert was_killed(command(second, "switch", "--now", failpoints="switch-renamed=kill"))
    assert not first.accepts_connections()
    assert command(first, "cleanup", "--what", "previous").code == 0
    assert first.accepts_connections()
    assert which(second) == "new"


def test_never_drops_beside_a_live_database_without_a_mark(site_any: Site) -> None:
    """A database was renamed by hand: the position is unknown."""
    stand_beside(site_any)
    assert command(site_any, "switch", "--now").code == 0
    site_any.sql(f'COMMENT ON DATABASE "{site_any.live}" IS NULL', "postgres")
    refused = command(site_any, "cleanup", "--what", "previous")
    assert (refused.code, refused.reason) == (1, "SwitchFailed")
    assert site_any.names.previous in site_any.databases()


def test_inspect_knows_a_later_rollback(site_any: Site) -> None:
    """The operator reads the position in the undo window: a later rollback is no switch by hand."""
    first, second = site_any, replace(site_any, rollback_id=LATER)
    stand_beside(first)
    assert command(first, "switch", "--now").code == 0
    seen = command(first, "inspect").result["payload"]
    assert (seen["position"], seen["superseded"]) == ("New", False)
    again(second)
    assert command(second, "switch", "--now").code == 0
    seen = command(first, "inspect").result["payload"]
    assert (seen["position"], seen["superseded"]) == ("New", True)
    # It was not this Job that refused connections: the figure is unknown, not 0.
    assert "refusedSeconds" not in seen
    # The later one is undone; then the first one, by hand.
    assert command(second, "switch", "--now", "--back").code == 0
    assert command(first, "inspect").result["payload"]["superseded"] is False
    assert command(second, "cleanup", "--what", "restored").code == 0
    back = command(first, "switch", "--now", "--back").result["payload"]
    assert (back["position"], back["refusedSeconds"] > 0) == ("Old", True)
    assert command(first, "inspect").result["payload"]["position"] == "Old"
    # A cleanup by a remembered position is refused, and changes nothing; by the observed one nothing is left.
    assert command(first, "cleanup", "--what", "previous").reason == "SwitchFailed"
    assert command(first, "cleanup", "--what", "restored").code == 0
    assert first.databases() == {first.live}


def test_inspect_refuses_names_that_fit_nothing(site_any: Site) -> None:
    stand_beside(site_any)
    assert command(site_any, "switch", "--now").code == 0
    site_any.sql(f'COMMENT ON DATABASE "{site_any.live}" IS NULL', "postgres")
    assert command(site_any, "inspect").reason == "SwitchFailed"


def test_row_79_another_rollback_with_the_same_first_digits_drops_nothing(site_any: Site) -> None:
    """The names have eight digits of the id. A record in the store can be forged so that it shares them."""
    forged = replace(site_any, rollback_id=site_any.rollback_id[:8] + LATER[8:])
    stand_beside(site_any)
    assert command(site_any, "switch", "--now").code == 0
    assert forged.names.previous == site_any.names.previous
    refused = command(forged, "cleanup", "--what", "previous")
    assert (refused.code, refused.reason) == (1, "SwitchFailed")
    assert site_any.rollback_id in refused.message
    assert site_any.names.previous in site_any.databases()
    # Its own cleanup still works, also after a later rollback.
    again(second := replace(site_any, rollback_id=LATER))
    assert command(second, "switch", "--now").code == 0
    assert command(forged, "cleanup", "--what", "previous").code == 1
    assert command(site_any, "cleanup", "--what", "previous").result["payload"]["databasesDropped"] == [
        site_any.names.previous
    ]
