"""Names that more than one component must agree on: labels, annotations, finalizers, databases, store keys."""

import hashlib
from typing import Literal

from ocore_crds.group import GROUP

# Labels of child objects. Fixed, never copies of the parent's: Argo CD prunes what carries its tracking label
# (velero#2975).
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "ocore-snapshots"
#: Name of our container in a Job's pod, in which others may be injected.
MOVER_CONTAINER = "mover"
LABEL_KIND = f"{GROUP}/kind"  # Environment, SnapshotStore, Snapshot or Rollback: the kind of the Job's owner
LABEL_UID = f"{GROUP}/uid"  # metadata.uid of that object
LABEL_COMMAND = f"{GROUP}/command"  # probe, snapshot, restore, switch …
#: On a safety snapshot: the uid of the Rollback that it belongs to.
ANNOTATION_ROLLBACK_UID = f"{GROUP}/rollback-uid"
LABEL_STORE = f"{GROUP}/store"  # name of the SnapshotStore, for the limit of Jobs per store
ANNOTATION_OWNER_NAME = f"{GROUP}/name"  # the owner's name, which may be too long for a label
LABEL_JOB_NAME = "batch.kubernetes.io/job-name"  # on a pod, by the Job controller
#: On a Job: seconds until its container must run, where the Environment sets them.
ANNOTATION_START_DEADLINE = f"{GROUP}/start-deadline"

#: On a Job that a Rollback, or a person, waits for: a probe, a safety snapshot. Its slot is of another pool.
ANNOTATION_OF_OPERATION = f"{GROUP}/of-operation"

#: On the switch Job's pod: the go-signal, and the order to finish or to switch back (see protocol.Signal).
ANNOTATION_SIGNAL = f"{GROUP}/signal"
#: Beside it: how often it was repeated. The Job does not read it; it makes the kubelet write the signal's file again.
ANNOTATION_SIGNAL_REPETITION = f"{GROUP}/signal-repetition"
#: Read from the workload's pod template: the commit that its image was built from.
ANNOTATION_COMMIT = f"{GROUP}/commit-sha"
#: On an Environment, RFC 3339: its sizes must be measured at this time or later (see environment.SizesStatus).
ANNOTATION_PROBE_REQUESTED = f"{GROUP}/probe-requested"
#: On a Snapshot, RFC 3339: it is to be restored as a test now; each other value asks for one more (see
#: restore_test.RestoreTestStatus).
ANNOTATION_RESTORE_TEST_REQUESTED = f"{GROUP}/restore-test-requested"
#: On a Snapshot, RFC 3339: every byte in its own store is to be read again; each other value asks once more (see
#: read_back.ReadBack).
ANNOTATION_VERIFY_REQUESTED = f"{GROUP}/verify-requested"
#: On a Snapshot or Rollback that an import creates: the uid of its SnapshotStore. Its status follows at once. Such a
#: Rollback never starts.
ANNOTATION_IMPORT = f"{GROUP}/import"
#: On a SnapshotStore, RFC 3339: an import, or a sweep, that began at this time or later is wanted.
ANNOTATION_IMPORT_REQUESTED = f"{GROUP}/import-requested"
ANNOTATION_SWEEP_REQUESTED = f"{GROUP}/sweep-requested"
#: On a SnapshotStore: `status.orphans.report` of the orphans to remove.
ANNOTATION_REMOVE_ORPHANS = f"{GROUP}/remove-orphans"
#: On a Snapshot or Rollback of the REST facade: SHA-256 of the request's body, to recognise the same Idempotency-Key
#: with another body.
ANNOTATION_REQUEST = f"{GROUP}/request-sha256"
#: On a Snapshot or Rollback of the REST facade: when it was asked for, with milliseconds. metadata.creationTimestamp
#: has whole seconds.
ANNOTATION_REQUESTED_AT = f"{GROUP}/requested-at"
#: On a Rollback with dryRun: who made it removes it again after reading the report. Where that was killed, the operator
#: does.
ANNOTATION_TEMPORARY = f"{GROUP}/temporary"
#: On a Rollback of the REST facade: ids of the target and of the snapshot, for the answer to a repeated request before
#: the status has them.
ANNOTATION_TARGET_ID = f"{GROUP}/target-environment-id"
ANNOTATION_SNAPSHOT_ID = f"{GROUP}/snapshot-id"
#: The chart announces a release by its operator's ClusterRole: with this label, and as annotations its Lease
#: (NAMESPACE/NAME) and the namespaces that it watches, with commas (empty: all).
LABEL_RELEASE = f"{GROUP}/release"
ANNOTATION_LEASE = f"{GROUP}/lease"
ANNOTATION_WATCHES = f"{GROUP}/watches"
#: Honoured only where the operator runs with OCORE_ALLOW_FAILPOINTS=true (tests).
ANNOTATION_FAILPOINTS = f"{GROUP}/failpoints"

FINALIZER_DATA = (
    f"{GROUP}/data"  # Snapshot: deletionPolicy is applied to the data in the store before the object is removed
)
FINALIZER_ROLLBACK = f"{GROUP}/rollback"  # Rollback: cancelled cleanly before the object is removed
FINALIZER_EXTRACT = f"{GROUP}/extract"  # Extract: its result is removed before the object is
#: By kind.
FINALIZERS = {"Snapshot": FINALIZER_DATA, "Rollback": FINALIZER_ROLLBACK, "Extract": FINALIZER_EXTRACT}

#: PostgreSQL's NAMEDATALEN - 1, in bytes.
MAX_IDENTIFIER_BYTES = 63
#: ``_prev_`` and eight hexadecimal digits.
MAX_DATABASE_NAME_BYTES = MAX_IDENTIFIER_BYTES - len("_prev_") - 8


def _uuid_of(text: str) -> str:
    """A UUID that only the text decides. Never changed: stored manifests have such ids."""
    digits = hashlib.sha256(text.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def project_id(declared: str | None, namespace: str) -> str:
    """The project of an Environment: its `spec.projectId`, or a UUID that is the same for all Environments of the
    namespace, also in a rebuilt cluster."""
    return declared or _uuid_of(f"project of namespace {namespace}")


def short_id(id_: str) -> str:
    """Eight hexadecimal digits of a UUID, for database and folder names."""
    return id_.replace("-", "")[:8]


def safety_snapshot(rollback_name: str, rollback_uid: str) -> str:
    """Name of a rollback's safety snapshot. By the uid, so that a Rollback that is created again under its name has
    another one."""
    suffix = f"-safety-{short_id(rollback_uid)}"
    return rollback_name[: 253 - len(suffix)].rstrip("-.") + suffix


def restored_database(live: str, rollback_id: str) -> str:
    """The database a rollback restores into, beside the live one."""
    return f"{live}_rb_{short_id(rollback_id)}"


def previous_database(live: str, rollback_id: str) -> str:
    """Name of the previous live database from the switchover until the undo window ends."""
    return f"{live}_prev_{short_id(rollback_id)}"


def proof_database(live: str, environment_id: str) -> str:
    """The scratch database into which a probe restores the schema of the live one. Not longer than the others beside
    it."""
    return f"{live}_try_{short_id(environment_id)}"


def restore_test_id(environment_id: str) -> str:
    """The id that the database and the temporary roles of an environment's test restores are named by: neither a proof
    nor a rollback has it."""
    return _uuid_of(f"{environment_id} test-restore")


def restore_test_database(live: str, test_id: str) -> str:
    """The scratch database into which a test restore loads a snapshot. `test_id`: see :func:`restore_test_id`. Not
    longer than the others beside it."""
    return f"{live}_test_{short_id(test_id)}"


def extract_database(live: str, extract_id: str) -> str:
    """The scratch database into which an Extract loads tables. Not longer than the others beside it."""
    return f"{live}_ext_{short_id(extract_id)}"


def restored_schema(extract_id: str) -> str:
    """The new schema that the tables of an Extract are restored into."""
    return f"restored_{short_id(extract_id)}"


#: Marks a restored database: a line ``ocore.rollback_id=<id>`` in its comment, which survives renames. ``ALTER DATABASE
#: … SET`` is no alternative: PostgreSQL lets only superusers set a parameter that no module defines.
DATABASE_MARKER = "ocore.rollback_id"

#: A line of the live database's comment for each rollback that renamed it: ``ocore.rollback=<name> <spec hash> <uid>
#: <environment id> <outcome>``.
ROLLBACK_MARKER = "ocore.rollback"

#: Folder at the root of the filestore's claim for frozen copies, hold sets and staged folders.
CLAIM_FOLDER = ".ocore"

#: File in a folder that an Extract has made on a claim: whose it is, and what was extracted.
EXTRACT_MARKER = ".ocore-extract.json"

STORE_ID_KEY = "ocore-store.json"


def snapshots_prefix(environment_id: str) -> str:
    """Key prefix of all snapshots of an environment; ends with a slash."""
    return f"environments/{environment_id}/snapshots/"


def snapshot_prefix(environment_id: str, snapshot_id: str) -> str:
    """Key prefix of everything of one snapshot, below the store's own prefix; ends with a slash."""
    return f"{snapshots_prefix(environment_id)}{snapshot_id}/"


def manifest_key(environment_id: str, snapshot_id: str) -> str:
    """The manifest's key: one per snapshot, independent of the attempt."""
    return snapshot_prefix(environment_id, snapshot_id) + "manifest.json"


def state_key(environment_id: str, snapshot_id: str) -> str:
    """Key of the state object: pin, retention and deletionPolicy of the snapshot."""
    return snapshot_prefix(environment_id, snapshot_id) + "state.json"


def dependents_prefix(environment_id: str, snapshot_id: str) -> str:
    """Key prefix of the markers of the differentials that need a full snapshot; ends with a slash. A marker is empty,
    and its name is the id of the differential. It is written before the differential's manifest, and counts only while
    that manifest exists."""
    return snapshot_prefix(environment_id, snapshot_id) + "dependents/"


#: Type of the Secret with a Job identity, and its one key.
JOB_IDENTITY_TYPE = "ocore.dev/job-identity"
JOB_IDENTITY_FILE = "identity.txt"


def job_identity_secret(uid: str) -> str:
    """Name of the Secret with the Job identity that was made for the Snapshot with this uid."""
    return f"ocore-job-identity-{uid}"


#: How the key of a key object for a Job identity ends: no person has that identity.
JOB_KEY = "-job.age"


def keys_prefix(environment_id: str, snapshot_id: str) -> str:
    """Key prefix of the key objects of an encrypted snapshot; ends with a slash. Each has the identity of one attempt,
    encrypted for recipients. They are only added."""
    return snapshot_prefix(environment_id, snapshot_id) + "keys/"


def key_object(environment_id: str, snapshot_id: str, attempt: str, number: int = 0) -> str:
    """Key of the key object that an attempt writes. `number`: where the earlier ones exist."""
    return f"{keys_prefix(environment_id, snapshot_id)}{attempt}-{number}.age"


def job_key_object(environment_id: str, snapshot_id: str, attempt: str) -> str:
    """Key of the key object for the Job identity."""
    return f"{keys_prefix(environment_id, snapshot_id)}{attempt}{JOB_KEY}"


def attempt_prefix(environment_id: str, snapshot_id: str, attempt: str) -> str:
    """Key prefix of one attempt's artifacts; two attempts can never mix."""
    return snapshot_prefix(environment_id, snapshot_id) + f"{attempt}/"


def signature_key(environment_id: str, snapshot_id: str, attempt: str) -> str:
    """Key of the signature of the manifest that an attempt writes."""
    return attempt_prefix(environment_id, snapshot_id, attempt) + "manifest.sig"


def lock_of(key: str) -> Literal["Snapshot", "Attempt"] | None:
    """How an object is locked, in a store that locks: a manifest as its snapshot, an attempt's artifacts for a day at
    first, in case that it fails. None: it is replaced or deleted while the snapshot exists."""
    parts = key.split("/")
    if len(parts) < 5 or (parts[0], parts[2]) != ("environments", "snapshots"):
        return None
    if key == manifest_key(parts[1], parts[3]):
        return "Snapshot"
    own = len(parts) > 5 and not key.startswith(dependents_prefix(parts[1], parts[3]))
    return "Attempt" if own else None


def extract_prefix(environment_id: str, extract_id: str) -> str:
    """Key prefix of what an Extract has made; ends with a slash. Beside the snapshots: a deletion of leftovers removes
    what is below theirs."""
    return f"environments/{environment_id}/extracts/{extract_id}/"


def orphans_key(report_id: str) -> str:
    """Key of the report of the last sweep that a SnapshotStore (its uid) has asked for."""
    return f"ocore-orphans/{report_id}.json"


def rollback_prefix(environment_id: str, name: str, spec_hash: str) -> str:
    """Key prefix of the record of every Rollback of this name and spec; ends with a slash."""
    return f"environments/{environment_id}/rollbacks/{name}/{spec_hash}/"


def rollback_record_key(environment_id: str, name: str, spec_hash: str, uid: str, attempt: str, state: str) -> str:
    """Key of one object of a rollback's record."""
    return rollback_prefix(environment_id, name, spec_hash) + f"{uid}/{attempt}/{state}.json"
