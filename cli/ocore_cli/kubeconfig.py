"""The kubeconfig, merged and read as kubectl does, and the service account of a pod. Errors are CliError."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import CliError

Object = dict[str, Any]
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Fields with a path: relative to the folder of the file that has it.
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True)
class Target:
    """A context: the fields of its cluster and of its user, and its namespace."""

    cluster: Object
    user: Object
    namespace: str
    #: The user's name, for messages.
    name: str = ""


def target(path: str | None, context: str | None, environment: Mapping[str, str] = os.environ) -> Target:
    """The context of the file, else of those of $KUBECONFIG, else of ``~/.kube/config``; in a pod without one its
    service account. Raises CliError."""
    given = (
        [path] if path is not None else [each for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    )
    paths = [Path(each).expanduser() for each in given or ["~/.kube/config"]]
    merged = _merged(paths, needed=path is not None)
    name = context if context is not None else merged["current-context"]
    if not name:
        if path is None and (found := _service_account(environment)) is not None:
            return found
        where = ", ".join(map(str, paths))
        raise _wrong(f"{where} {'names no context' if merged['contexts'] else 'does not exist or is empty'}")
    chosen = _entry(merged, "contexts", name)
    user = chosen.get("user") or ""
    return Target(
        cluster=_entry(merged, "clusters", chosen.get("cluster") or ""),
        user=_entry(merged, "users", user) if user else {},
        namespace=chosen.get("namespace") or "default",
        name=user,
    )


def _merged(paths: list[Path], *, needed: bool) -> Object:
    """The first file that has an entry counts. A file that does not exist is empty, but for a `needed` one."""
    merged: Object = {"current-context": "", "contexts": {}, "clusters": {}, "users": {}}
    for path in paths:
        try:
            found = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        except FileNotFoundError as error:
            if needed:
                raise _wrong(str(error)) from error
            continue
        except (OSError, yaml.YAMLError) as error:
            raise _wrong(f"{path}: {error}") from error
        if found is not None and not isinstance(found, dict):
            raise _wrong(f"{path} is not a mapping")
        merged["current-context"] = merged["current-context"] or (found or {}).get("current-context") or ""
        for list_, field in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for each in (found or {}).get(list_) or ():
                if not isinstance(each, dict) or not isinstance(each.get(field) or {}, dict):
                    raise _wrong(f"{path}: an entry of {list_} is not a mapping with name and {field}")
                merged[list_].setdefault(each.get("name"), _resolved(each.get(field) or {}, path.absolute().parent))
    return merged


def _resolved(fields: Object, folder: Path) -> Object:
    """With absolute paths."""
    found = {**fields, **{name: str(folder / fields[name]) for name in _PATHS if fields.get(name)}}
    plugin = fields.get("exec") or {}
    if not isinstance(plugin, dict):
        raise _wrong("exec of a user is not a mapping")
    command = str(plugin.get("command") or "")
    if "/" in command:
        found["exec"] = {**fields["exec"], "command": str(folder / command)}
    return found


def _entry(merged: Object, list_: str, name: str) -> Object:
    found: Object | None = merged[list_].get(name)
    if found is None:
        known = ", ".join(sorted(map(str, merged[list_]))) or "none"
        raise _wrong(f"{list_} has no {name!r}. It has: {known}")
    return found


def _service_account(environment: Mapping[str, str]) -> Target | None:
    """That of the pod that this runs in; None elsewhere."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    token = SERVICE_ACCOUNT / "token"
    if not host or not port or not token.is_file():
        return None
    try:
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError:
        namespace = "default"
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = {"server": server, "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")}
    return Target(cluster, {"tokenFile": str(token)}, namespace, "service account")


def _wrong(text: str) -> CliError:
    return CliError(f"cannot read the kubeconfig: {text}. Set KUBECONFIG or --kubeconfig")
