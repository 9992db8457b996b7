"""Key objects: the identity of one attempt at a snapshot, as an age file for its recipients.

Who can write to the bucket can add some, too. One counts only where its identity belongs to the public key in the
manifest. docs/decisions/0220-format-3.md.
"""

from collections.abc import Iterator, Sequence
from itertools import count, islice

from ocore_crds import conditions, naming
from ocore_mover import manifests
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store import age
from ocore_mover.store.interface import Store


def write(
    store: Store, environment_id: str, snapshot_id: str, attempt: str, identity: age.Identity, recipients: Sequence[str]
) -> str:
    """Writes the key object of an attempt, reads it back and returns its key. Raises MoverError RecipientInvalid, and
    Corrupt if the read-back differs."""
    lines = [f"# Identity of snapshot {snapshot_id}, attempt {attempt}"]
    lines += [f"# for {recipient}" for recipient in recipients]
    data = age.encrypt("\n".join([*lines, identity.secret, ""]).encode(), recipients)
    for number in count():
        key = naming.key_object(environment_id, snapshot_id, attempt, number)
        if manifests.write_once(store, key, data) is not None:
            return key
    raise AssertionError("unreachable")


def write_job(
    store: Store, environment_id: str, snapshot_id: str, attempt: str, identity: age.Identity, job: str
) -> None:
    """Writes the key object for the Job identity with the public key `job`. Raises Corrupt as :func:`write`."""
    key = naming.job_key_object(environment_id, snapshot_id, attempt)
    text = f"# Identity of snapshot {snapshot_id}, attempt {attempt}\n# for its Jobs\n{identity.secret}\n"
    if manifests.write_once(store, key, age.encrypt(text.encode(), (job,))) is None:
        raise Corrupt(f"{key} in {store.url} exists already", key)


def find(
    store: Store,
    environment_id: str,
    snapshot_id: str,
    public_key: str,
    identities: Sequence[age.Identity],
    recipients: Sequence[str] = (),
    attempt: str = "",
    job_key: str | None = None,
) -> age.Identity:
    """The identity of the snapshot's data, which belongs to this public key. `recipients`: for messages. `attempt`: a
    bucket with versioning has its key object also where that was overwritten or hidden. `job_key`: public key of the
    Job identity, which has a key object of its own.

    Passes over key objects of other attempts, of other recipients, and damaged or forged ones. Raises MoverError
    IdentityWrong where none is left.
    """
    is_job = any(identity.recipient == job_key for identity in identities)
    own = naming.job_key_object if is_job else naming.key_object
    first = own(environment_id, snapshot_id, attempt) if attempt else None
    seen = 0
    for key, size in _listed(store, naming.keys_prefix(environment_id, snapshot_id), first):
        seen += 1
        data = store.get(key, limit=manifests.KEY_BYTES) if size <= manifests.KEY_BYTES else None
        identity = _fitting(data, public_key, identities) if data is not None else None
        if identity is not None:
            return identity
    if first is not None:
        data = store.older(
            first, lambda data: _fitting(data, public_key, identities) is not None, limit=manifests.KEY_BYTES
        )
        identity = _fitting(data, public_key, identities) if data is not None else None
        if identity is not None:
            return identity
    named = f" It is encrypted to {', '.join(recipients)}." if recipients else ""
    if not seen:
        raise MoverError(
            conditions.IDENTITY_WRONG,
            f"Snapshot {snapshot_id} has no key object in {store.url}, so no identity opens it.{named} Copy the objects"
            f" below {naming.keys_prefix(environment_id, snapshot_id)} from a copy of the store.",
        )
    public = ", ".join(identity.recipient for identity in identities)
    raise MoverError(
        conditions.IDENTITY_WRONG,
        f"Snapshot {snapshot_id} cannot be opened with the identity of {public}: none of its key objects ({seen}) has"
        f" its key for that.{named} Name a Secret with the identity of one of its recipients.",
    )


def _listed(store: Store, prefix: str, first: str | None) -> Iterator[tuple[str, int]]:
    """Keys and sizes. The attempt's own object comes first: who can write to the bucket can add any number of others,
    and those after MOST_KEYS are not read."""
    own = store.head(first) if first is not None else None
    if own is not None:
        yield own.key, own.size
    for found in islice(store.list(prefix), manifests.MOST_KEYS):
        if found.key != first:
            yield found.key, found.size


def _fitting(data: bytes, public_key: str, identities: Sequence[age.Identity]) -> age.Identity | None:
    try:
        found = age.parse_identities(age.decrypt(data, identities).decode())
    except (age.NoMatch, UnicodeDecodeError, Corrupt):
        return None
    except MoverError as error:
        if error.reason != conditions.IDENTITY_INVALID:
            raise
        return None
    return next((identity for identity in found if identity.recipient == public_key), None)
