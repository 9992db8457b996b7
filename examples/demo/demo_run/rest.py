"""The same story over REST: an issuer of tokens, curl, and a live stream."""

import base64
import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator

import yaml

from .kube import OPERATOR_NAMESPACE, RELEASE, REPOSITORY, Kube, Object
from .output import Output, StepFailed

#: Values of the chart that install the facade.
VALUES = REPOSITORY / "examples/demo/rest.yaml"
SUBJECT = "demo@example.org"
#: Seconds for which a token is valid.
LIFETIME = 1800
_FORWARD_SECONDS = 30
_REQUEST_SECONDS = 30
_STREAM_SECONDS = 600


class Issuer:
    """Signs tokens, as the server does that your users log in at. The public key is in a ConfigMap, where the facade
    reads it. The private key is in a Secret, so that another run of the demo signs with the same one."""

    def __init__(self, pem: bytes | None = None) -> None:
        """`pem`: the private key of an earlier run."""
        self.pem = pem or _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        self._jwt: Object = yaml.safe_load(VALUES.read_text())["api"]["jwt"]
        modulus = _openssl("rsa", "-noout", "-modulus", stdin=self.pem).decode().strip().removeprefix("Modulus=")
        self.jwk = {
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "demo",
            "n": _base64url(bytes.fromhex(modulus)), "e": "AQAB",
        }  # fmt: skip

    @classmethod
    def install(cls, kube: Kube) -> "Issuer":
        """The issuer of this cluster, with its key in the operator's namespace."""
        command = ("kubectl", "-n", OPERATOR_NAMESPACE, "get", "secret", "demo-issuer-key", "--ignore-not-found")
        found = kube.run(*command, "-o", "json")
        stored = base64.b64decode(json.loads(found)["data"]["key.pem"]) if found.strip() else None
        try:
            issuer = cls(stored)
        except StepFailed:  # of an earlier checkout, whose key was not RSA
            issuer = cls()
        items = {"apiVersion": "v1", "kind": "List", "items": issuer.objects()}
        kube.run("kubectl", "apply", "-f", "-", stdin=json.dumps(items))
        return issuer

    def objects(self) -> list[Object]:
        """Namespace, private key and public key."""
        where = {"namespace": OPERATOR_NAMESPACE}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "demo-issuer-key", **where},
                "stringData": {"key.pem": self.pem.decode()},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": self._jwt["jwks"]["configMap"]["name"], **where},
                "data": {"jwks.json": json.dumps({"keys": [self.jwk]})},
            },
        ]

    def token(self, project: str) -> str:
        """A token for all environments of a project, with every scope."""
        now = int(time.time())
        claims = {
            "iss": self._jwt["issuer"],
            "aud": self._jwt["audience"],
            "sub": SUBJECT,
            "iat": now,
            "exp": now + LIFETIME,
            "projects": [project],
            "scope": "read snapshot rollback admin",
        }
        header = {"alg": self.jwk["alg"], "kid": self.jwk["kid"], "typ": "JWT"}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        with tempfile.NamedTemporaryFile() as file:
            file.write(signed.encode())
            file.flush()
            signature = _openssl("dgst", "-sha256", "-sign", "/dev/stdin", file.name, stdin=self.pem)
        return f"{signed}.{_base64url(signature)}"


def _openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    """What it prints. No package of Python is needed for it."""
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise StepFailed(f"openssl {arguments[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def forwarded(kube: Kube) -> Iterator[str]:
    """Base URL of the facade, forwarded to this machine while the block runs."""
    service = f"service/{RELEASE}-ocore-snapshots-api"
    command = ["kubectl", "-n", OPERATOR_NAMESPACE, "port-forward", service, ":80", "--address", "127.0.0.1"]
    process = subprocess.Popen(command, env=kube.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = threading.Timer(_FORWARD_SECONDS, process.kill)
    deadline.start()
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        line = process.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8080
        deadline.cancel()
        if "127.0.0.1:" not in line:
            raise StepFailed(f"{' '.join(command)}: no port", f"kubectl -n {OPERATOR_NAMESPACE} get pods,services")
        yield "http://127.0.0.1:" + line.split("127.0.0.1:")[1].split()[0] + "/api"
    finally:
        deadline.cancel()
        process.terminate()
        process.communicate(timeout=10)


class Rest:
    """curl with a token."""

    def __init__(self, output: Output, url: str, token: str) -> None:
        self.output = output
        self._url = url
        # On stdin: the arguments of a process are public on its machine.
        self._config = f'header = "Authorization: Bearer {token}"\n'

    def request(self, method: str, path: str, body: Object | None = None) -> tuple[Object, str]:
        """The JSON of the answer, and its Location. Raises StepFailed unless it is a success."""
        data = [] if body is None else ["-H", "Content-Type: application/json", "--data", json.dumps(body)]
        shown = "".join(f" {a}" if a.startswith("-") else f" '{a}'" for a in data)
        self.output.say(f"curl -X {method} -H \"Authorization: Bearer $TOKEN\"{shown} '$URL{path}'")
        command = [
            "curl", "-sS", "--config", "-", "-X", method, *data, "--max-time", str(_REQUEST_SECONDS),
            "-w", "\\n%{http_code} %header{location}", self._url + path,
        ]  # fmt: skip
        done = subprocess.run(command, input=self._config, capture_output=True, text=True, check=False)
        answer, _, last = done.stdout.rpartition("\n")
        status, _, location = last.partition(" ")
        if done.returncode != 0 or not status.startswith("2"):
            raise StepFailed(f"{method} {path}: {status} {answer or done.stderr}", *_LOOK_AT)
        return dict(json.loads(answer)) if answer else {}, location

    def follow(self, path: str) -> Object:
        """The data of the stream's final event. Prints each event. Raises StepFailed unless the operation completed."""
        self.output.say(f"curl -N -H \"Authorization: Bearer $TOKEN\" '$URL{path}'")
        command = [
            "curl",
            "-sSN",
            "--fail-with-body",
            "--config",
            "-",
            "--max-time",
            str(_STREAM_SECONDS),
            self._url + path,
        ]
        process = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        name, shown, others = "", "", list[str]()
        last: Object = {}
        try:
            process.stdin.write(self._config)
            process.stdin.close()
            for line in process.stdout:
                field, _, value = line.rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    last = json.loads(value)
                    # Changes of the message alone are left out.
                    if line_of(last) != shown:
                        shown = line_of(last)
                        self.output.say(f"  {name}: {shown}")
                elif field not in ("", "id", "retry"):
                    others.append(line)
        finally:
            process.kill()
            process.wait()
        if last.get("status") != "completed":
            raise StepFailed(f"GET {path}: {last.get('message') or ''.join(others) or 'no final event'}", *_LOOK_AT)
        return dict(last)


_LOOK_AT = (
    f"kubectl -n {OPERATOR_NAMESPACE} logs deployment/{RELEASE}-ocore-snapshots-api --tail 30",
    "kubectl -n demo get snapshots.ocore.dev,rollbacks.ocore.dev",
)


def line_of(event: Object) -> str:
    """An event, for people."""
    size = f", {event['bytesDone']:,} of {event['bytesTotal']:,} bytes" if event["bytesTotal"] else ""
    step = f" {event['step']}" if event["step"] else ""
    return f"{event['status']}{step} {event['percent']} %{size}"
