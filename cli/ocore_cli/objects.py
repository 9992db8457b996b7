"""The resources in the API server, as plain data. Errors are CliError, with what to do."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from ocore_crds.group import GROUP, VERSION
from ocore_crds.kinds import Kind

from .errors import CliError, Denied, NotInstalled, Refused, Unreachable

Object = dict[str, Any]
#: Characters of `spec.requestedBy`.
_MAX_USER = 256
#: Objects that one request asks for: no answer is larger than some MiB.
PAGE = 500
#: The command that installs the chart. A word in capitals is a placeholder.
CHART = "oci://REGISTRY/charts/ocore-snapshots"
INSTALL = (
    f"helm upgrade --install ocore {CHART} --namespace ocore-system --create-namespace --set"
    " global.imageRegistry=REGISTRY"
)
#: Field manager of what `init` applies.
MANAGER = "kubectl-ocore"
#: Seconds to wait for an answer.
SECONDS = 15.0
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Objects:
    """The API server of a kubeconfig, or of the pod that this runs in."""

    def __init__(
        self,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        seconds: float = SECONDS,
        *,
        interactive: bool = True,
    ) -> None:
        """`seconds`: most of them to wait for an answer. `interactive`: a credential plugin may ask a person."""
        # Completion of a command or an option asks no API server.
        from . import kubeconfig as config
        from .transport import Transport

        target = config.target(kubeconfig, context)
        self._api = Transport(target, seconds, interactive=interactive)
        #: The same choice for kubectl.
        self.flags = tuple(
            part
            for name, value in (("--kubeconfig", kubeconfig), ("--context", context))
            if value is not None
            for part in (name, value)
        )
        self.namespace = namespace or target.namespace

    def get(self, kind: Kind, name: str) -> Object | None:
        """The object in the namespace; None if it does not exist."""
        return self.read(path_of(self, kind, name))

    def list(self, kind: Kind, *, everywhere: bool = False) -> list[Object]:
        """All of the namespace, or of all namespaces; read in pages."""
        return [obj for page in pages(self, kind, everywhere=everywhere) for obj in page["items"]]

    def read(self, path: str, query: Mapping[str, str] | None = None, accept: str = JSON) -> Object | None:
        """The answer of the API server to a GET of any path; None where there is nothing. Raises Denied where the
        caller may not read it."""
        body = self._ask("GET", path, query, accept=accept)
        return json.loads(body) if body is not None else None

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The same as text, for example a pod's log; empty where there is nothing."""
        return (self._ask("GET", path, query, accept="*/*") or b"").decode(errors="replace")

    def create(self, kind: Kind, body: Object) -> Object:
        """Creates an object and returns it as the API server has it. Raises CliError with the API server's message if
        it is refused: a field that it does not know is an error."""
        made = self.post(path_of(self, kind), body)
        if made is None:
            need_installed(self, kind)
            raise CliError(f"namespace {self.namespace} does not exist. List all: kubectl get namespaces")
        return made

    def post(self, path: str, body: Object) -> Object | None:
        """Creates an object of any kind; None where the path does not exist. Raises CliError as :meth:`create`."""
        # An older CRD drops fields that it does not know: without dryRun, a preview would be a rollback.
        made = self._ask("POST", path, {"fieldValidation": "Strict"}, body)
        return json.loads(made) if made is not None else None

    def apply(self, kind: Kind, body: Object) -> None:
        """Server-side apply under the name of this program, without force. Raises CliError where another manager owns a
        field, or it is refused."""
        path, query = path_of(self, kind, body["metadata"]["name"]), {"fieldManager": MANAGER, "force": "false"}
        if self._ask("PATCH", path, {**query, "fieldValidation": "Strict"}, body, APPLY_PATCH) is None:
            raise not_installed(kind)

    def patch(self, kind: Kind, name: str, body: Object) -> None:
        """Merges the body into an object. Raises CliError where it does not exist, or the API server refuses it."""
        if self._ask("PATCH", path_of(self, kind, name), None, body, MERGE_PATCH) is None:
            raise missing(self, kind, name)

    def delete(self, kind: Kind, name: str) -> None:
        """Deletes the object; one that does not exist is deleted already."""
        self.remove(path_of(self, kind, name))

    def remove(self, path: str) -> None:
        """The same for an object of any kind."""
        self._ask("DELETE", path)

    def user(self) -> str:
        """The user name that the API server knows the caller by, for `spec.requestedBy`: the chart's admission policy
        accepts no other one. Empty if it is unknown, or does not fit into the field."""
        api = "authentication.k8s.io/v1"
        review = {"apiVersion": api, "kind": "SelfSubjectReview"}
        try:
            found = json.loads(self._ask("POST", f"/apis/{api}/selfsubjectreviews", None, review) or "{}")
        except CliError:
            return ""  # the operation itself reports what is wrong
        name = str(((found.get("status") or {}).get("userInfo") or {}).get("username") or "")
        return name if len(name) <= _MAX_USER else ""

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes | None:
        """The bytes of the answer; None for 404: the caller knows what is missing. Raises CliError."""
        data = json.dumps(body).encode() if body is not None else None
        headers = (("Accept", accept), ("Content-Type", content_type), ("User-Agent", MANAGER))
        where = f"{path}?{urlencode(query)}" if query else path
        status, reason, found = self._api.request(method, where, headers, data)
        if status == 404:
            return None
        if not 200 <= status <= 299:
            raise _refusal(status, reason, found)
        return found


def path_of(objects: Objects, kind: Kind, name: str = "", *, everywhere: bool = False) -> str:
    """Where the API server has the object, or lists the kind."""
    where = "" if everywhere else f"namespaces/{quote(objects.namespace, safe='')}/"
    return f"/apis/{GROUP}/{VERSION}/{where}{kind.plural}" + (f"/{quote(name, safe='')}" if name else "")


def pages(
    objects: Objects,
    kind: Kind,
    name: str = "",
    query: Mapping[str, str] | None = None,
    accept: str = JSON,
    *,
    everywhere: bool = False,
) -> Iterator[Object]:
    """The answers to a list of the kind, or to a GET of the named object. Raises CliError where the kind is not
    installed, or the object does not exist."""
    path, asked = path_of(objects, kind, name, everywhere=everywhere), {"limit": str(PAGE), **(query or {})}
    while True:
        answer = objects.read(path, asked, accept)
        if answer is None:
            raise missing(objects, kind, name) if name else not_installed(kind)
        yield answer
        if not (token := (answer.get("metadata") or {}).get("continue")):
            return
        asked["continue"] = token


def not_installed(kind: Kind) -> NotInstalled:
    """The error where the API server does not know the kind."""
    return NotInstalled(
        f"the CRD {kind.crd_name} is not installed. Install the chart first, or ask an administrator: {INSTALL}."
    )


def need_installed(objects: Objects, kind: Kind) -> None:
    """Raises NotInstalled where the API server does not serve the kind. Everyone may read what it serves."""
    served = objects.read(f"/apis/{GROUP}/{VERSION}") or {}
    if all(each["name"] != kind.plural for each in served.get("resources") or ()):
        raise not_installed(kind)


def missing(objects: Objects, kind: Kind, name: str) -> CliError:
    """The error where the object does not exist in the namespace. Raises NotInstalled where the kind does not."""
    with suppress(Denied):  # of what is served: not of the object
        need_installed(objects, kind)
    return CliError(
        f"{kind.singular} {name} does not exist in namespace {objects.namespace}. List all: kubectl ocore get"
        f" {kind.short} -A"
    )


def items(answer: Object | None) -> list[Object]:
    """Of a list that was read; none where there is nothing."""
    return list((answer or {}).get("items") or ())


def need_namespace(objects: Objects) -> None:
    """Raises CliError where the namespace does not exist."""
    try:
        found = objects.read(f"/api/v1/namespaces/{objects.namespace}")
    except Denied:
        return  # a role in a namespace does not include the namespace itself
    if found is None:
        raise CliError(f"namespace {objects.namespace} does not exist. List all: kubectl get namespaces")


def needed(objects: Objects, kind: Kind, name: str) -> Object:
    """The object. Raises CliError where it does not exist."""
    found = objects.get(kind, name)
    if found is None:
        raise missing(objects, kind, name)
    return found


def _refusal(status: int, reason: str, body: bytes) -> CliError:
    """With the message of the API server's Status object, and a remedy where there is one."""
    if status in (429, 500, 502, 503, 504):
        return Unreachable(f"the API server answers {status} {reason}")
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = reason
    if status == 401:
        return CliError(f"the API server refused your credentials: {message}. Renew those of your kubeconfig")
    if status == 403:
        return Denied(
            f"permission denied: {message}. Ask an administrator for the role view, edit or admin in the namespace"
        )
    return (Refused if status in (400, 409, 422) else CliError)(message)
