"""What opens an encrypted Snapshot, and whether recipients can be used. Pure: the operator reads no identity."""

from ocore_crds import conditions as c
from ocore_crds.model import LocalRef
from ocore_crds.resources.encryption import Encryption
from ocore_crds.resources.restore_test import RestoreTests
from ocore_crds.text.age_keys import recipient_problem
from ocore_operator import sources
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Snapshot


def identity_for(snapshot: Snapshot, named: LocalRef | None, namespace: str) -> LocalRef | None:
    """The Secret that opens the Snapshot for a Job in this namespace: the one that is named, else that of its Job
    identity, which opens it in its own store only. None: it is not encrypted, or nothing opens it."""
    found, remote = snapshot.status.encryption, snapshot.status.remote
    if found is None or named is not None:
        return named if found is not None else None
    elsewhere = snapshot.meta.namespace != namespace or (remote is not None and remote.only)
    if found.job_identity_secret is None or elsewhere or sources.is_damaged(snapshot):
        return None
    return LocalRef(name=found.job_identity_secret)


def is_closed(snapshot: Snapshot, named: LocalRef | None, namespace: str) -> bool:
    """Whether the Snapshot is encrypted, and nothing opens it: see :func:`identity_for`."""
    return snapshot.status.encryption is not None and identity_for(snapshot, named, namespace) is None


def identity_missing(snapshot: Snapshot, where: str) -> str:
    """Why the Snapshot cannot be read, and what to add. `where`: the object that must name the Secret."""
    found = snapshot.status.encryption
    recipients = found.recipients if found is not None else ()
    to = f" to {', '.join(recipients)}" if recipients else ""
    return (
        f"Snapshot {snapshot.meta.name} is encrypted{to}. Create a Secret with an identity file of one of its"
        " recipients (kubectl create secret generic NAME --from-file=identity.txt), and set identitySecretRef:"
        f" {{name: NAME}} in {where}."
    )


def identity_of_test(snapshot: Snapshot, verify: RestoreTests | None) -> LocalRef | None:
    """The Secret that opens the Snapshot for a test restore; None: it is not encrypted. Raises
    Stalled(IdentityMissing)."""
    named = verify.identity_secret_ref if verify is not None else None
    if is_closed(snapshot, named, snapshot.meta.namespace):
        where = f"spec.verify of SnapshotPolicy {snapshot.spec.environment_ref.name}"
        raise Stalled(c.IDENTITY_MISSING, identity_missing(snapshot, where))
    return identity_for(snapshot, named, snapshot.meta.namespace)


def need_recipients(found: Encryption | None, kind: str, name: str) -> None:
    """Raises Stalled(RecipientInvalid) where one of them is no public key: no one could open what is encrypted to
    it."""
    for place, recipient in enumerate(found.recipients if found is not None else ()):
        problem = recipient_problem(recipient)
        if problem:
            text = f"spec.encryption.recipients[{place}] of {kind} {name}: {problem}"
            raise Stalled(c.RECIPIENT_INVALID, text)
