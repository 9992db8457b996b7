"""``kubectl ocore snapshot ENV --before-deployment ID``: the step of a pipeline, a hook or a Job that precedes a
rollout.

Exit code 0: the deployment may continue. 1: it must not (``failurePolicy: Block``). Run again with the same ID, it
follows the same Snapshot.
"""

import uuid
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT, SNAPSHOT_POLICY
from ocore_crds.resources.snapshotpolicy import SnapshotPolicySpec

from .errors import CliError
from .objects import Objects, needed
from .retention import policy_spec
from .waiting import wait_for_end

#: Namespace of the UUIDs of deployments whose id is no UUID: uuid5 of the DNS name deployments.ocore.dev.
DEPLOYMENTS = uuid.uuid5(uuid.NAMESPACE_DNS, "deployments.ocore.dev")


def run(
    objects: Objects,
    console: Console,
    environment: str,
    deployment: str,
    requester: str,
    *,
    verify: bool = False,
    timeout: float | None = None,
) -> None:
    """Takes the snapshot and waits. Raises typer.Exit(1) or CliError where the deployment must not continue."""
    # Where it cannot be read, this ends with an error: then Block applies.
    policy = policy_spec(objects.get(SNAPSHOT_POLICY, environment), environment)
    if not policy.auto_enabled:
        console.print(
            Text(f"autoEnabled of SnapshotPolicy {environment} is false: no snapshot before this deployment.")
        )
        return
    try:
        _take(objects, console, environment, deployment_uuid(deployment), policy, requester, verify, timeout)
    except (CliError, typer.Exit) as error:
        if policy.failure_policy == "Block":
            console.print(Text("failurePolicy is Block: the deployment must not continue.", style="red"))
            raise
        if isinstance(error, CliError):
            console.print(Text(str(error)), soft_wrap=True)
        warning = "failurePolicy is Continue: the deployment continues WITHOUT a snapshot."
        console.print(Text(warning, style="bold yellow"))


def deployment_uuid(text: str) -> str:
    """The id itself if it is a UUID, else the UUIDv5 of it. Raises CliError for an empty one."""
    if not text.strip():
        raise CliError("--before-deployment needs an id, for example the commit or the pipeline's number")
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.uuid5(DEPLOYMENTS, text))


def snapshot_name(environment: str, deployment: str) -> str:
    """The same for the same environment and deployment: a hook that runs again takes no second snapshot."""
    return f"{environment[:150].rstrip('-.')}-deploy-{deployment}"


def _take(
    objects: Objects,
    console: Console,
    environment: str,
    deployment: str,
    policy: SnapshotPolicySpec,
    requester: str,
    verify: bool,
    timeout: float | None,
) -> None:
    needed(objects, ENVIRONMENT, environment)
    name = snapshot_name(environment, deployment)
    spec: dict[str, Any] = {
        "environmentRef": {"name": environment},
        "trigger": "Deployment",
        "deploymentId": deployment,
        "requestedBy": requester,
        "retention": "Policy",
        "deletionPolicy": "Delete",
        "timeoutSeconds": policy.timeout_seconds,
    }
    if verify:
        spec["verify"] = "Full"
    if objects.get(SNAPSHOT, name) is not None:
        console.print(Text(f"snapshot.ocore.dev/{name} exists: following it"))
    else:
        objects.create(SNAPSHOT, SNAPSHOT.new(objects.namespace, spec, name=name))
        console.print(Text(f"snapshot.ocore.dev/{name} created"))
    wait_for_end(objects, SNAPSHOT, name, timeout, console)
