"""What a real Job reports is all that a clean success needs: from the mover's output to the Snapshot's
recoveryEvidence."""

from pathlib import Path
from typing import Any

import pytest

from ocore_crds.protocol import SnapshotResult
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.rules import evidence
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.snapshot import transitions
from support.mover.application import Application
from support.mover.beside import Finished, call
from support.mover.desk import Desk
from support.mover.site import Site
from support.operator.objects import environment, moment, snapshot, store


@pytest.fixture
def desk_any(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


def recovery(done: Finished, *, imported: bool = False, config: bool = True, **spec: Any) -> RecoveryEvidence:
    """Of the Snapshot whose Job, or inspect Job, this was."""
    log = LogState()
    for line in done.stdout.splitlines():
        log.take(line)
    asked = environment(None if config else {"config": None})
    status = transitions.started(snapshot(spec), asked, JobInputs("shop", store(), PodTraits()), moment(0))
    begun = snapshot(spec, status.wire())
    result = SnapshotResult.model_validate(done.result["payload"])
    ended = transitions.completed(
        begun, result, None if imported else log, clean=True, imported=imported, now=moment(9)
    )
    return evidence.of_snapshot(begun.spec, ended)


@pytest.mark.parametrize("layout", ["Odoo", "Plain"])
def test_a_real_snapshot_is_green_and_so_is_its_adoption(site_any: Site, tmp_path: Path, layout: str) -> None:
    desk = Desk(site_any, tmp_path, layout=layout)
    Application(site_any, desk.claim).write_many(5)
    config = tmp_path / "config"
    config.mkdir()
    (config / "odoo.conf").write_text("[options]\n")
    done = desk.ok("snapshot", "--config", str(config), "--verify", "Full")
    found = recovery(done, verify="Full")
    assert found.can_write_clean_success, found.why_not_green
    assert found.required_steps == ("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish", "Verify")
    for path in found.artifact_paths.values():
        assert (desk.store / path).exists()
    adopted = recovery(call("inspect", *desk.which), imported=True)
    assert adopted.can_write_clean_success, adopted.why_not_green
    assert adopted.artifact_checksums == found.artifact_checksums
    # Reading back was not part of the inspection.
    assert recovery(call("inspect", *desk.which), imported=True, verify="Full").missing_steps == ("Verify",)


def test_without_a_configuration_that_was_asked_for_it_is_not_green(desk_any: Desk) -> None:
    Application(desk_any.site, desk_any.claim).write_many(3)
    done = desk_any.ok("snapshot")
    assert recovery(done, config=False).can_write_clean_success
    found = recovery(done)
    assert found.missing_steps == ("CaptureConfig",)
    assert found.missing_evidence == ("config: SHA-256", "config: path")


def test_files_that_were_lost_before_are_missing(desk_any: Desk) -> None:
    application = Application(desk_any.site, desk_any.claim)
    names = application.write_many(4)
    (application.filestore / names[2]).unlink()
    found = recovery(desk_any.ok("snapshot", "--missing-files", "Report"), config=False)
    assert (found.status, found.can_write_clean_success) == ("completed", False)
    (missing,) = found.missing_evidence
    assert missing == f"filestore: lost files that the database names (1 listed, for example {names[2]})"
