"""What a user of the kubeconfig sends: headers, and a client certificate. Errors are CliError."""

import base64
import binascii
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .errors import CliError
from .kubeconfig import Target

#: Of ExecCredential.
_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_EXTENSION = "client.authentication.k8s.io/exec"
#: Seconds for a program that asks no person.
_TIMEOUT = 60


@dataclass(frozen=True)
class Certificate:
    """Certificates and key, as PEM."""

    chain: bytes
    key: bytes


@dataclass(frozen=True)
class Credentials:
    """Of a user, until they expire."""

    headers: tuple[tuple[str, str], ...]
    certificate: Certificate | None = None
    expires: datetime | None = None
    #: Whether a refusal may be over with new ones: a program or a file gives them.
    renewable: bool = False

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)


def credentials(target: Target, *, interactive: bool) -> Credentials:
    """The current ones. Runs the user's credential plugin, which may ask a person where that is wanted. Raises
    CliError."""
    user = target.user
    renewable = bool(user.get("exec") or user.get("tokenFile"))
    found = Credentials(tuple(_impersonation(user)), _certificate(user), renewable=renewable)
    # As kubectl does: a file before a value.
    if token := _token_of_file(user) or user.get("token"):
        return _authorized(found, _bearer(token))
    if user.get("exec"):
        return _of_exec(target, user["exec"], found, interactive)
    if user.get("auth-provider"):
        return _authorized(found, _bearer(_oidc(target.name, user["auth-provider"])))
    if user.get("username"):
        return _authorized(found, basic(user["username"], user.get("password") or ""))
    return found


def content(fields: dict[str, Any], name: str) -> bytes | None:
    """Of the field ``NAME-data``, else of the file in the field ``NAME``; None without both. Raises CliError."""
    try:
        if data := fields.get(f"{name}-data"):
            return base64.b64decode("".join(data.split()), validate=True)  # which may have line breaks
        return Path(fields[name]).read_bytes() if fields.get(name) else None
    except (OSError, binascii.Error, TypeError, AttributeError) as error:
        raise CliError(f"cannot read {name} of the kubeconfig: {error}") from error


def basic(user: str, password: str) -> str:
    """Of a header of HTTP's basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _bearer(token: str) -> str:
    return f"Bearer {token}"


def _authorized(found: Credentials, value: str) -> Credentials:
    return replace(found, headers=(*found.headers, ("Authorization", value)))


def _impersonation(user: dict[str, Any]) -> list[tuple[str, str]]:
    found = [("Impersonate-User", user.get("as")), ("Impersonate-Uid", user.get("as-uid"))]
    found += [("Impersonate-Group", each) for each in user.get("as-groups") or ()]
    extra: dict[str, list[str]] = user.get("as-user-extra") or {}
    found += [(f"Impersonate-Extra-{quote(key, safe='')}", each) for key, values in extra.items() for each in values]
    return [(name, str(value)) for name, value in found if value]


def _certificate(user: dict[str, Any]) -> Certificate | None:
    chain = content(user, "client-certificate")
    if chain is None:
        return None
    key = content(user, "client-key")
    if key is None:
        raise CliError("the kubeconfig has a client-certificate, and no client-key")
    return Certificate(chain, key)


def _token_of_file(user: dict[str, Any]) -> str:
    if not user.get("tokenFile"):
        return ""
    try:
        return Path(user["tokenFile"]).read_text().strip()
    except OSError as error:
        if user.get("token"):
            return ""
        raise CliError(f"cannot read tokenFile of the kubeconfig: {error}") from error


def _of_exec(target: Target, plugin: dict[str, Any], found: Credentials, interactive: bool) -> Credentials:
    """With what the user's program prints (client-go credential plugins). Raises CliError."""
    status = _printed(target, plugin, interactive)
    token, chain = status.get("token"), status.get("clientCertificateData")
    if not token and not chain:
        raise CliError(f"the credential plugin {plugin['command']} printed neither a token nor a certificate")
    if token:
        found = _authorized(found, _bearer(token))
    if chain:
        key = status.get("clientKeyData") or ""
        found = replace(found, certificate=Certificate(chain.encode(), key.encode()))
    if text := status.get("expirationTimestamp"):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise CliError(f"the credential plugin {plugin['command']} printed a wrong time: {text!r}") from error
        found = replace(found, expires=moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    return found


def _printed(target: Target, plugin: dict[str, Any], interactive: bool) -> dict[str, Any]:
    command, version = plugin.get("command") or "", plugin.get("apiVersion") or ""
    if not command or version not in _VERSIONS:
        raise CliError(
            f"exec of the kubeconfig needs a command and apiVersion {' or '.join(_VERSIONS)}, not {version!r}"
        )
    mode = plugin.get("interactiveMode") or "IfAvailable"
    person = interactive and sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not person:
        raise CliError(f"the credential plugin {command} asks a person, and there is no terminal")
    interactive = person and mode != "Never"
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster(target.cluster)
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    try:
        more = {each["name"]: each["value"] for each in plugin.get("env") or ()}
        done = subprocess.run(
            [command, *map(str, plugin.get("args") or ())],
            env={**os.environ, **more, "KUBERNETES_EXEC_INFO": json.dumps(asked)},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=None if interactive else _TIMEOUT,
            check=True,
        )
        answer = json.loads(done.stdout)
        if answer.get("apiVersion") != version:
            raise CliError(f"the credential plugin {command} answers with {answer.get('apiVersion')!r}, not {version}")
        return dict(answer.get("status") or {})
    except FileNotFoundError as error:
        hint = plugin.get("installHint") or "Install it"
        raise CliError(f"the credential plugin {command} of the kubeconfig does not exist. {hint}") from error
    except subprocess.CalledProcessError as error:  # its own text has the arguments, which may be secret
        raise CliError(f"the credential plugin {command} failed with exit status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise CliError(f"the credential plugin {command} did not end within {_TIMEOUT} s") from None
    except (TypeError, KeyError) as error:
        raise CliError("exec of the kubeconfig has an env whose entries are not name and value, as text") from error
    except (OSError, ValueError, AttributeError) as error:
        raise CliError(f"the credential plugin {command} of the kubeconfig failed: {error}") from error


def _cluster(fields: dict[str, Any]) -> dict[str, Any]:
    """The cluster as ExecCredential has it."""
    ca = content(fields, "certificate-authority")
    found = {
        "server": fields.get("server"),
        "tls-server-name": fields.get("tls-server-name"),
        "insecure-skip-tls-verify": fields.get("insecure-skip-tls-verify"),
        "certificate-authority-data": base64.b64encode(ca).decode() if ca is not None else None,
        "proxy-url": fields.get("proxy-url"),
        "config": next(
            (e.get("extension") for e in fields.get("extensions") or () if e.get("name") == _EXTENSION), None
        ),
    }
    return {name: value for name, value in found.items() if value is not None}


def _oidc(user: str, provider: dict[str, Any]) -> str:
    """The token that kubectl has got and renews. Raises CliError where it has expired."""
    token = str((provider.get("config") or {}).get("id-token") or "")
    if provider.get("name") != "oidc" or not token:
        raise CliError(
            f"auth-provider {provider.get('name')} of user {user} gives no id-token. Use a credential plugin"
        )
    try:
        body = token.split(".")[1]
        expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]
    except (IndexError, ValueError, KeyError, TypeError):
        return token  # the API server decides
    if expires <= datetime.now(UTC).timestamp():
        raise CliError(f"the id-token of user {user} has expired. Run kubectl version, which renews it, then try again")
    return token
