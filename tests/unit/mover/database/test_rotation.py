"""A password that is changed, in the server and in the Secret, while a command runs."""

import pytest

from ocore_crds import conditions
from ocore_mover.database import connect as connecting
from ocore_mover.database.connect import connect
from ocore_mover.errors import MoverError
from support.mover.site import Site


def refused(site: Site) -> MoverError:
    with pytest.raises(MoverError) as error, connect(site.target.app, application="test"):
        pass
    assert error.value.reason == conditions.AUTHENTICATION_FAILED
    return error.value


def test_row_134_a_password_that_was_accepted_before_may_pass_in_another_attempt(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt mounts the Secret as it is then. One that was never right is not tried again: that locks
    roles."""
    monkeypatch.setattr(connecting, "_accepted", set())
    site.server.execute(f"""ALTER ROLE "{site.role.name}" PASSWORD 'another'""")
    assert not refused(site).retryable
    site.server.execute(f"""ALTER ROLE "{site.role.name}" PASSWORD '{site.role.password}'""")
    with connect(site.target.app, application="test"):
        pass
    site.server.execute(f"""ALTER ROLE "{site.role.name}" PASSWORD 'another'""")
    rotated = refused(site)
    assert rotated.retryable
    assert "Another attempt reads the Secret again" in rotated.message
