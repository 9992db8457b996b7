"""The resources in the API server, as plain data. Errors are CliError, with what to do."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import urllib3
from kubernetes import client
from kubernetes import config as untyped_config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from ocore_crds.kinds import Kind
from ocore_crds.model import GROUP, VERSION

from .errors import CliError, Denied, NotInstalled, Refused, Unreachable

Object = dict[str, Any]
#: Seconds to connect, and to wait for an answer.
_TIMEOUT = (5, 15)
#: Characters of `spec.requestedBy`.
_MAX_USER = 256
#: Objects that one request asks for: no answer is larger than some MiB.
PAGE = 500
#: Field manager of what `init` applies.
MANAGER = "kubectl-ocore"
config: Any = untyped_config  # the package's annotations leave these functions out
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Objects(Protocol):
    """What the commands need of the API server."""

    namespace: str

    def get(self, kind: Kind, name: str) -> Object | None:
        """The object in the namespace; None if it does not exist."""

    def list(self, kind: Kind, *, everywhere: bool = False) -> list[Object]:
        """All of the namespace, or of all namespaces."""

    def read(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Object | None:
        """The answer of the API server to a GET of any path; None where there is nothing. Raises Denied where the
        caller may not read it."""

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The same as text, for example a pod's log; empty where there is nothing."""

    def patch(self, kind: Kind, name: str, body: Object) -> None:
        """Merges the body into an object. Raises CliError where it does not exist, or the API server refuses it."""

    def create(self, kind: Kind, body: Object) -> Object:
        """Creates an object and returns it as the API server has it. Raises CliError with the API server's message if
        it is refused: a field that it does not know is an error."""

    def apply(self, kind: Kind, body: Object) -> None:
        """Server-side apply under the name of this program, without force. Raises CliError where another manager owns a
        field, or it is refused."""

    def annotate(self, kind: Kind, name: str, annotations: dict[str, str]) -> None:
        """Sets annotations of an object that exists. Raises CliError where the API server refuses it."""

    def delete(self, kind: Kind, name: str) -> None:
        """Deletes the object; one that does not exist is deleted already."""

    def user(self) -> str:
        """The user name that the API server knows the caller by, for `spec.requestedBy`: the chart's admission policy
        accepts no other one. Empty if it is unknown, or does not fit into the field."""


class KubernetesObjects:
    """The API server of a kubeconfig, or of the pod that this runs in."""

    def __init__(self, kubeconfig: str | None = None, context: str | None = None, namespace: str | None = None) -> None:
        api, default_namespace = _connect(kubeconfig, context)
        self._api = client.CustomObjectsApi(api)
        self._authentication = client.AuthenticationV1Api(api)
        self.namespace = namespace or default_namespace

    def get(self, kind: Kind, name: str) -> Object | None:
        try:
            return self._call("get_namespaced_custom_object", kind, name)
        except _NotFoundError:
            return None

    def list(self, kind: Kind, *, everywhere: bool = False) -> list[Object]:
        """Reads them in pages."""
        found: list[Object] = []
        page: dict[str, str] = {"limit": str(PAGE)}
        while True:
            answer = self.read(list_path(self, kind, everywhere=everywhere), page)
            if answer is None:
                raise not_installed(kind)
            found += answer["items"]
            if not (token := (answer.get("metadata") or {}).get("continue")):
                return found
            page["continue"] = token

    def read(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Object | None:
        body = self._get(path, query, accept)
        return json.loads(body) if body is not None else None

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return (self._get(path, query, "*/*") or b"").decode(errors="replace")

    def _get(self, path: str, query: Mapping[str, str] | None, accept: str) -> bytes | None:
        api = self._api.api_client
        request = api.param_serialize(
            "GET", path, query_params=list((query or {}).items()), auth_settings=["BearerToken"],
            header_params={"Accept": accept},
        )  # fmt: skip

        def call() -> Any:
            answer = api.call_api(*request, _request_timeout=_TIMEOUT)
            body = answer.read()
            if answer.status != 200:
                raise ApiException(http_resp=answer, body=(body or b"").decode(errors="replace"))
            return body

        try:
            found: bytes = _translated(call)
        except _NotFoundError:
            return None
        return found

    def create(self, kind: Kind, body: Object) -> Object:
        try:
            # An older CRD drops fields that it does not know: without dryRun, a preview would be a rollback.
            return self._call("create_namespaced_custom_object", kind, body, field_validation="Strict")
        except _NotFoundError as error:
            raise CliError(
                f"namespace {self.namespace} does not exist, or the CRD {kind.crd_name} is not installed"
                " (docs/install.md)"
            ) from error

    def apply(self, kind: Kind, body: Object) -> None:
        try:
            self._call(
                "patch_namespaced_custom_object", kind, body["metadata"]["name"], body, field_manager=MANAGER,
                field_validation="Strict", force=False, _content_type="application/apply-patch+yaml",
            )  # fmt: skip
        except _NotFoundError as error:
            raise not_installed(kind) from error

    def annotate(self, kind: Kind, name: str, annotations: dict[str, str]) -> None:
        self.patch(kind, name, {"metadata": {"annotations": annotations}})

    def patch(self, kind: Kind, name: str, body: Object) -> None:
        try:
            self._call("patch_namespaced_custom_object", kind, name, body, _content_type="application/merge-patch+json")
        except _NotFoundError as error:
            raise CliError(f"{kind.singular} {name} does not exist in namespace {self.namespace}") from error

    def delete(self, kind: Kind, name: str) -> None:
        try:
            self._call("delete_namespaced_custom_object", kind, name)
        except _NotFoundError:
            return

    def user(self) -> str:
        review = client.V1SelfSubjectReview()
        try:
            found = self._authentication.create_self_subject_review(review, _request_timeout=_TIMEOUT)
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            return ""  # the operation itself reports what is wrong
        info = found.status.user_info if found.status is not None else None
        name = str(info.username or "") if info is not None else ""
        return name if len(name) <= _MAX_USER else ""

    def _call(self, method: str, kind: Kind, *arguments: Any, **options: Any) -> Object:
        call = getattr(self._api, method)
        answer: Object = _translated(
            lambda: call(GROUP, VERSION, self.namespace, kind.plural, *arguments, _request_timeout=_TIMEOUT, **options)
        )
        return answer


def list_path(objects: Objects, kind: Kind, *, everywhere: bool) -> str:
    """Where the API server lists the kind."""
    where = "" if everywhere else f"namespaces/{objects.namespace}/"
    return f"/apis/{GROUP}/{VERSION}/{where}{kind.plural}"


def not_installed(kind: Kind) -> NotInstalled:
    """The error where the API server does not know the kind."""
    return NotInstalled(f"the CRD {kind.crd_name} is not installed: install the chart (docs/install.md)")


class _NotFoundError(Exception):
    """404; the caller knows what is missing."""


def _connect(kubeconfig: str | None, context: str | None) -> tuple[client.ApiClient, str]:
    try:
        api = config.new_client_from_config(kubeconfig, context)
        contexts, active = config.list_kube_config_contexts(kubeconfig)
    except (ConfigException, OSError) as error:
        if kubeconfig is None and context is None:
            try:
                config.load_incluster_config()
            except ConfigException:
                pass
            else:
                return client.ApiClient(), _pod_namespace()
        raise CliError(f"cannot read the kubeconfig: {error}. Set KUBECONFIG or --kubeconfig") from error
    chosen = next((c for c in contexts if c["name"] == context), active)
    return api, chosen["context"].get("namespace") or "default"


def _pod_namespace() -> str:
    try:
        return _POD_NAMESPACE.read_text().strip()
    except OSError:
        return "default"


def _translated(call: Callable[[], Any]) -> Any:
    try:
        answer = call()
    except ApiException as error:
        if error.status == 404:
            raise _NotFoundError from error
        if error.status in (429, 500, 502, 503, 504):
            raise Unreachable(f"the API server answers {error.status} {error.reason}") from error
        refusal = Denied if error.status == 403 else Refused if error.status in (400, 409, 422) else CliError
        raise refusal(_api_message(error)) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unreachable(f"the API server does not answer: {error}") from error
    return answer


def _api_message(error: ApiException) -> str:
    """The message of the API server's Status object, with a remedy where there is one."""
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        message = error.reason
    if error.status == 401:
        return f"the API server refused your credentials: {message}. Renew those of your kubeconfig"
    if error.status == 403:
        return f"permission denied: {message}. Ask an administrator for the role (docs/install.md)"
    return str(message)
