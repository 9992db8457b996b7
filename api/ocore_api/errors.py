"""What a request is refused with. Served as RFC 9457 problem+json by the room `http`."""

from http import HTTPStatus
from typing import Any

#: Every `reason` that an error can have, with its status: for the OpenAPI document and docs/rest-api.md, too.
REASONS: dict[str, tuple[int, str]] = {
    "AccessNotGranted": (409, "The source environment does not allow rollbacks into the target's namespace."),
    "AdmissionRefused": (409, "An admission policy of the cluster refuses it; `detail` has its message."),
    "ApiServerUnavailable": (503, "The Kubernetes API server does not answer. Repeat the request after Retry-After."),
    "BadRequest": (400, "The body cannot be read."),
    "BeingDeleted": (
        409,
        "What this Idempotency-Key created is being deleted. Repeat the request, or send another key.",
    ),
    "BodyTimeout": (408, "The body did not arrive in time."),
    "BodyTooLarge": (413, "The body is too large."),
    "CancelNotPossible": (409, "The rollback has begun to switch, or has ended; `detail` says what is possible."),
    "Conflict": (
        409,
        "The object was changed or deleted at the same moment. Read it again, then repeat the request.",
    ),
    "FacadeRefused": (503, "The facade lacks rights, or the CRDs are missing. Its log has the reason."),
    "FieldOwned": (
        409,
        "Another client, such as a GitOps tool, owns the field: `manager`, `field`, `conflicts`. Change it there.",
    ),
    "IdempotencyKeyReused": (422, "The key was sent before with another body. Send a new key."),
    "InternalError": (500, "An unexpected error. The server's log has it under `requestId`."),
    "InvalidIdempotencyKey": (422, "The key must have 1 to 255 visible ASCII characters."),
    "InvalidJson": (400, "The body is not valid JSON."),
    "InvalidToken": (401, "The token is forged, expired, not valid yet, or of another issuer or audience."),
    "InvalidValue": (422, "A value is not allowed; `errors` names the fields."),
    "KeysUnavailable": (503, "The keys of the issuer could not be read yet. Repeat the request after Retry-After."),
    "MethodNotAllowed": (405, "The path does not know the method; the header Allow lists those that it knows."),
    "MissingScope": (403, "The token lacks a scope; `detail` names it."),
    "NamespaceTerminating": (409, "The environment's namespace is being deleted."),
    "NotFound": (404, "It does not exist, or is not the caller's."),
    "NotMeasured": (503, "The sizes are not known; `cause` is the reason, and `detail` says what to correct."),
    "OperationRunning": (409, "An operation runs on the target environment. Repeat the request later."),
    "OtherProject": (422, "The target environment is of another project."),
    "QuotaExceeded": (403, "A ResourceQuota of the namespace refuses it."),
    "ShuttingDown": (503, "This replica ends. Open the stream again."),
    "SnapshotHasDependents": (409, "Differential snapshots need it. Delete them first."),
    "SnapshotInUse": (409, "A rollback that has not ended restores it."),
    "SnapshotNotComplete": (409, "Only a completed snapshot can be restored."),
    "SnapshotPinned": (409, "It is pinned. Remove the pin first."),
    "SnapshotRunning": (409, "It is not finished. Wait until it is completed or failed."),
    "StoreNotFound": (409, "The target's namespace has no SnapshotStore with the snapshot's data."),
    "TimeZoneUnknown": (422, "The time zone of the environment's SnapshotPolicy is unknown. Correct it there."),
    "TokenMissing": (401, "The request has no token."),
    "TooManyExtracts": (409, "Too many extracts of the environment have not ended. Wait for one of them."),
    "TooManyPreviews": (
        409,
        "Too many previews of the environment or caller have not ended. Wait for one of them.",
    ),
    "TooManyRequests": (429, "Over the rate limit. Repeat the request after Retry-After."),
    "TooManyStreams": (429, "Too many open streams of this caller. With status 503: of this replica."),
    "UndoNotPossible": (409, "The rollback cannot be undone; `detail` says why, and what to do instead."),
}

#: Titles as RFC 9110 has them: older versions of Python have others.
_TITLES = {413: "Content too large", 422: "Unprocessable content"}


class Problem(Exception):
    """A refusal. `reason`: one of REASONS; `detail`: what happened, then what to do; `status`: where it is not that of
    the reason; `fields`: further members of the answer."""

    def __init__(
        self, reason: str, detail: str, *, status: int = 0, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.status = status or REASONS[reason][0]
        self.headers = headers or {}
        self.fields = fields

    @property
    def title(self) -> str:
        """The status as text."""
        return _TITLES.get(self.status) or HTTPStatus(self.status).phrase.capitalize()
