"""The table of the mover's commands, and how a request reaches a Job's container."""

import re
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.commands import request_transport
from ocore_crds.commands.base import Request
from ocore_crds.commands.list_manifests import ListManifestsRequest
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.commands.probe_store import ProbeStoreRequest
from ocore_crds.commands.restore import RestoreRequest
from ocore_crds.commands.snapshot import SnapshotRequest
from ocore_crds.commands.table import COMMANDS
from ocore_crds.commands.write_state import WriteStateRequest
from ocore_crds.protocol import Payload
from ocore_crds.stored.manifest import Identity
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_crds.stored.snapshot_state import StoredState

UUID = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
STORE = StoreAccess(url="s3://snapshots")
#: What the kubelet would expand, or a shell, or JSON.
TEXTS = ["$$", "a$$b", "$(HOME)", "$(OCORE_POD_UID)", "$(X)", "$", "$$(X)", "grüße \U0001f600", "\"'\\ \n\t", "${X}"]


def expanded(value: str, known: Mapping[str, str]) -> str:
    """The value of a variable as the kubelet passes it: k8s.io/kubernetes/third_party/forked/golang/expansion."""

    def reference(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return known.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", reference, value)


def arrived(request: Request) -> Request:
    """The request that the mover reads in the container."""
    pod = {"OCORE_POD_UID": "the-uid", "HOME": "/root", "X": "x"}
    variables = {name: expanded(value, pod) for name, value in request_transport.variables(request).items()}
    document = request_transport.document({**pod, **variables})
    assert document is not None
    return type(request).model_validate_json(document)


def test_every_result_is_of_one_command_and_can_be_reported() -> None:
    payloads = set(get_args(get_args(Payload)[0]))
    results = [result for row in COMMANDS.values() for result in row.results]
    assert set(results) == payloads
    shared = {result.__name__ for result in results if results.count(result) > 1}
    # inspect reports what another command has done; a restore probes first.
    assert shared == {"SnapshotResult", "SwitchResult", "ProbeResult"}


def test_every_row_has_a_request_of_its_own() -> None:
    assert len({row.request for row in COMMANDS.values()}) == len(COMMANDS)
    for row in COMMANDS.values():
        assert row.request.__doc__, row.name
        assert row.attempts >= 1
        assert row.examples


@pytest.mark.parametrize("text", TEXTS)
def test_row_82_a_label_reaches_the_job_as_it_was_written(text: str) -> None:
    """Else the store had another label than the one that is wanted, and the Job was repeated without end."""
    request = WriteStateRequest(store=STORE, environment_id=UUID, snapshot_id=UUID, state=StoredState(pin_label=text))
    assert arrived(request) == request


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_what_users_wrote_is_not_expanded(text: str) -> None:
    identity = Identity(
        environment_id=UUID, environment_name=text, environment_type="staging", project_id=UUID, snapshot_id=UUID
    )
    request = SnapshotRequest.model_validate(
        {
            "store": STORE,
            "environmentId": UUID,
            "snapshotId": UUID,
            "identity": identity,
            "database": {"secret": text},
        }
    )
    assert all("$" not in value and value.isascii() for value in request_transport.variables(request).values())
    assert arrived(request) == request


def test_a_record_keeps_the_spec_of_the_rollback() -> None:
    spec = {"snapshotRef": {"name": "before"}, "requestedBy": "$(OCORE_POD_UID) $HOME", "dryRun": False, "more": None}
    run: dict[str, Any] = {"name": "back", "specHash": "0" * 32, "uid": UUID, "rollbackId": UUID, "environmentId": UUID}
    recorded = {"projectId": UUID, "createdAt": "2026-01-01T00:00:00Z", "spec": spec}
    record = RollbackRun.model_validate({**run, "snapshotId": UUID, "attempt": "0", "rollback": recorded})
    ids = {"environment_id": UUID, "rollback_id": UUID, "snapshot_id": UUID}
    request = RestoreRequest.model_validate(
        {"store": STORE, "database": {"secret": "/secrets"}, **ids, "record": record}
    )
    assert arrived(request) == request


def test_fields_with_their_default_are_left_out() -> None:
    """A mover of an earlier version accepts a document whose new fields are not used."""
    assert request_transport.variables(ProbeStoreRequest(store=STORE)) == {
        "OCORE_REQUEST": '{"store":{"url":"s3://snapshots"}}'
    }


def test_a_long_document_continues_in_further_variables() -> None:
    """One of 5,000 environments has 390 kB; Linux limits a variable to 128 KiB."""
    ids = {f"{number:08x}-0000-4000-8000-000000000000": UUID for number in range(5000)}
    request = ListManifestsRequest(store=STORE, environments=ids)
    variables = request_transport.variables(request)
    assert list(variables) == ["OCORE_REQUEST", "OCORE_REQUEST_1", "OCORE_REQUEST_2", "OCORE_REQUEST_3"]
    assert all(len(f"{name}={value}") < 128 * 1024 for name, value in variables.items())
    assert arrived(request) == request


def test_a_document_that_is_too_long_is_refused() -> None:
    request = ListManifestsRequest(store=STORE, after="x" * (request_transport.PART * request_transport.PARTS))
    with pytest.raises(ValueError, match=r"the request of the Job has \d+ bytes; at most 1000000 can be passed"):
        request_transport.variables(request)


def test_without_the_variable_there_is_no_document() -> None:
    assert request_transport.document({"HOME": "/root", "OCORE_REQUEST_1": "{}"}) is None
