"""How `kubectl ocore` reaches an API server with what a kubeconfig can name. Servers and proxies are real ones on
loopback, with certificates of openssl."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocore_cli import kubeconfig
from ocore_cli.errors import CliError, Unreachable
from ocore_cli.objects import Objects
from ocore_cli.transport import _excluded
from support.mover.certificates import Authority
from support.mover.connect_proxy import ConnectProxy, TlsFront

Object = dict[str, Any]
NO_CA: Object = {"certificate-authority": None}
BETA = "client.authentication.k8s.io/v1beta1"


class Echo(ThreadingHTTPServer):
    """Answers with what it was asked: headers, the client certificate's name, and the client's port."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        #: Authorization headers that are refused.
        self.refused: set[str] = set()
        self.closes = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the server is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Echo
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self.close_connection = self.server.closes
        peer: Any = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject = {key: value for part in (peer or {}).get("subject", ()) for key, value in part}
        about = {
            "path": self.path,
            "headers": [[name, value] for name, value in self.headers.items() if name != "Host"],
            "certificate": subject.get("commonName"),
            "port": self.client_address[1],
        }
        refused = self.headers.get("Authorization", "") in self.server.refused
        body = json.dumps({"message": "Unauthorized"} if refused else about).encode()
        self.send_response(401 if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("transport") / "authority")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Echo]:
    mine = authority.issue("api.example.org", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.certificate, mine.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(authority.certificate)
    found = Echo(context)
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def write(tmp_path: Path, server: Echo, authority: Authority) -> Any:
    """Writes a kubeconfig for the server with the fields of a user and of the cluster; its path."""
    server.refused.clear()
    server.closes = False

    def written(user: Object, **cluster: Any) -> str:
        fields = {"server": f"https://127.0.0.1:{server.server_port}", **cluster}
        fields.setdefault("certificate-authority", str(authority.certificate))
        return config(tmp_path / "config", fields, user)

    return written


def config(path: Path, cluster: Object, user: Object, name: str = "x") -> str:
    fields = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"in-{name}"}}],
        "clusters": [{"name": name, "cluster": {k: v for k, v in cluster.items() if v is not None}}],
        "users": [{"name": name, "user": user}],
    }
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def asked(path: str, objects: Objects | None = None) -> Object:
    """What the server was asked with, its headers as a mapping of lists."""
    answer = (objects or Objects(path)).read("/version")
    assert answer is not None
    headers: dict[str, list[str]] = {}
    for name, value in answer["headers"]:
        headers.setdefault(name, []).append(value)
    return {**answer, "headers": headers}


def plugin(folder: Path, status: Object, **more: Any) -> Object:
    """A credential plugin that notes each of its runs, and prints the status, `RUN` replaced by their number."""
    program = folder / "plugin"
    answer = json.dumps({"apiVersion": more.get("apiVersion", BETA), "kind": "ExecCredential", "status": status})
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$KUBERNETES_EXEC_INFO\" >>{folder}/runs\n"
        f"run=$(wc -l <{folder}/runs)\nsed \"s/RUN/$run$MORE/\" <<'END'\n{answer}\nEND\n"
    )
    program.chmod(0o755)
    return {"exec": {"apiVersion": BETA, "command": str(program), **more}}


def runs(folder: Path) -> list[Object]:
    return [json.loads(line) for line in (folder / "runs").read_text().splitlines()]


def test_a_token_a_file_and_a_password(write: Any, tmp_path: Path) -> None:
    assert asked(write({"token": "t"}))["headers"]["Authorization"] == ["Bearer t"]
    (tmp_path / "token").write_text("of-file\n")
    objects = Objects(write({"token": "t", "tokenFile": "token"}))
    assert asked("", objects)["headers"]["Authorization"] == ["Bearer of-file"]
    answer = asked(write({"username": "ann", "password": "p:w"}))
    assert answer["headers"]["Authorization"] == ["Basic " + base64.b64encode(b"ann:p:w").decode()]


def test_a_token_of_a_file_that_was_renewed(write: Any, tmp_path: Path, server: Echo) -> None:
    (tmp_path / "token").write_text("1")
    objects = Objects(write({"tokenFile": "token"}))
    asked("", objects)
    server.refused.add("Bearer 1")
    (tmp_path / "token").write_text("2")
    assert asked("", objects)["headers"]["Authorization"] == ["Bearer 2"]


def test_a_client_certificate_as_files_and_as_data(write: Any, authority: Authority) -> None:
    mine = authority.issue("ann")
    paths = {"client-certificate": str(mine.certificate), "client-key": str(mine.key)}
    assert asked(write(paths))["certificate"] == "ann"
    # Of several lines, as some programs write it.
    data = {f"{name}-data": base64.encodebytes(Path(path).read_bytes()).decode() for name, path in paths.items()}
    assert asked(write(data))["certificate"] == "ann"


def test_who_is_impersonated(write: Any) -> None:
    user = {"token": "t", "as": "bob", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1", "2"]}}
    headers = asked(write(user))["headers"]
    assert {name: values for name, values in headers.items() if name.startswith("Impersonate")} == {
        "Impersonate-User": ["bob"],
        "Impersonate-Uid": ["7"],
        "Impersonate-Group": ["a", "b"],
        "Impersonate-Extra-x%2Fy": ["1", "2"],
    }


@pytest.mark.parametrize("ca", ["file", "data", "none", "other"])
def test_only_the_authority_of_the_kubeconfig_is_trusted(
    ca: str, write: Any, authority: Authority, tmp_path: Path
) -> None:
    data = base64.b64encode(authority.certificate.read_bytes()).decode()
    if ca in ("file", "data"):
        assert asked(write({}, **({"certificate-authority-data": data} if ca == "data" else {})))["path"] == "/version"
        return
    other = str(Authority(tmp_path / "other").certificate) if ca == "other" else None
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        asked(write({}, **{"certificate-authority": other}))
    insecure = {"certificate-authority": None, "insecure-skip-tls-verify": True}
    assert asked(write({}, **insecure))["path"] == "/version"
    for wrong, message in (
        ({**insecure, "certificate-authority": "ca"}, "remove one of them"),
        ({"insecure-skip-tls-verify": "false"}, "Write true or false, without quotes"),
    ):
        with pytest.raises(CliError, match=message):
            Objects(write({}, **wrong))


def test_nothing_secret_goes_to_a_server_without_tls(
    write: Any, server: Echo, authority: Authority, tmp_path: Path
) -> None:
    """kubectl sends no credentials there, and takes TLS where the kubeconfig has what TLS needs."""
    plain = Echo(None)
    try:
        answer = asked(write({"token": "t", "as": "bob"}, server=f"http://127.0.0.1:{plain.server_port}"))
        assert not {"Authorization", "Impersonate-User"} & answer["headers"].keys()
        asked(write(plugin(tmp_path, {"token": "RUN"}), server=f"127.0.0.1:{plain.server_port}", **NO_CA))
        assert not (tmp_path / "runs").exists()
    finally:
        plain.shutdown()
        plain.server_close()
    named = f"127.0.0.1:{server.server_port}"
    assert asked(write({"token": "t"}, server=named))["headers"]["Authorization"] == ["Bearer t"]
    insecure = {**NO_CA, "insecure-skip-tls-verify": True}
    assert asked(write({"token": "t"}, server=named, **insecure))["headers"]["Authorization"] == ["Bearer t"]
    mine = authority.issue("ann")
    user = {"client-certificate": str(mine.certificate), "client-key": str(mine.key)}
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        asked(write(user, server=named, **NO_CA))


def test_the_name_in_the_certificate(write: Any, server: Echo) -> None:
    url = f"https://localhost:{server.server_port}"
    with pytest.raises(Unreachable, match="localhost"):
        asked(write({}, server=url))
    assert asked(write({}, server=url, **{"tls-server-name": "api.example.org"}))["path"] == "/version"


def test_a_path_of_the_server_is_kept(write: Any, server: Echo) -> None:
    url = f"https://127.0.0.1:{server.server_port}/k8s/clusters/c-1/"
    assert asked(write({"token": "t"}, server=url))["path"] == "/k8s/clusters/c-1/version"


def test_one_connection_is_used_until_the_server_closes_it(write: Any, server: Echo) -> None:
    objects = Objects(write({"token": "t"}))
    first = asked("", objects)["port"]
    server.closes = True
    assert asked("", objects)["port"] == first
    assert asked("", objects)["port"] != first


# --- credential plugins --------------------------------------------------------------------------------------
def test_a_plugin_runs_again_when_its_token_expires_or_is_refused(write: Any, tmp_path: Path, server: Echo) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    user = plugin(tmp_path, {"token": "RUN", "expirationTimestamp": later}, env=[{"name": "MORE", "value": "-env"}])
    objects = Objects(write(user))
    for _ in range(2):
        assert asked("", objects)["headers"]["Authorization"] == ["Bearer 1-env"]
    server.refused.add("Bearer 1-env")
    assert asked("", objects)["headers"]["Authorization"] == ["Bearer 2-env"]
    server.refused |= {"Bearer 2-env", "Bearer 3-env"}
    with pytest.raises(CliError, match="refused your credentials"):
        asked("", objects)
    assert runs(tmp_path) == [{"apiVersion": BETA, "kind": "ExecCredential", "spec": {"interactive": False}}] * 3
    (tmp_path / "runs").unlink()
    server.refused.clear()
    objects = Objects(write(plugin(tmp_path, {"token": "RUN", "expirationTimestamp": "2020-01-01T00:00:00Z"})))
    assert [asked("", objects)["headers"]["Authorization"] for _ in range(2)] == [["Bearer 1"], ["Bearer 2"]]


def test_a_plugin_gives_a_certificate_and_sees_the_cluster(
    write: Any, tmp_path: Path, authority: Authority, server: Echo
) -> None:
    mine = authority.issue("plugged")
    status = {"clientCertificateData": mine.certificate.read_text(), "clientKeyData": mine.key.read_text()}
    version = "client.authentication.k8s.io/v1"
    user = plugin(tmp_path, status, apiVersion=version, provideClusterInfo=True, interactiveMode="Never")
    user["exec"]["command"] = "./plugin"  # beside the kubeconfig
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    assert asked(write(user, extensions=[extension]))["certificate"] == "plugged"
    (run,) = runs(tmp_path)
    cluster = run["spec"]["cluster"]
    assert cluster["server"] == f"https://127.0.0.1:{server.server_port}"
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.certificate.read_bytes()
    assert cluster["config"] == {"audience": "a"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"command": "no-such-plugin", "installHint": "Get it from the shelf."},
            "does not exist. Get it from the shelf",
        ),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "apiVersion client.authentication.k8s.io/v1 or"),
        ({"interactiveMode": "Always"}, "asks a person, and there is no terminal"),
        ({"command": "false"}, "exit status 1"),
        ({"command": "true"}, "failed: Expecting value"),
        ({"env": [{"name": "A", "value": 1}]}, "an env whose entries are not name and value, as text"),
        ({"env": [{"name": "A"}]}, "an env whose entries are not name and value, as text"),
    ],
)
def test_what_a_plugin_may_do_wrong(more: Object, message: str, write: Any, tmp_path: Path) -> None:
    user = plugin(tmp_path, {"token": "RUN"})
    with pytest.raises(CliError, match=message):
        asked(write({"exec": {**user["exec"], **more}}))


def test_arguments_of_a_plugin_are_in_no_error(write: Any) -> None:
    """Logins by OpenID Connect have their secret there."""
    with pytest.raises(CliError, match="failed with exit status 1") as failed:
        asked(write({"exec": {"apiVersion": BETA, "command": "false", "args": ["--oidc-client-secret=HUSH"]}}))
    assert "HUSH" not in str(failed.value)


def test_a_token_of_kubectls_own_login(write: Any) -> None:
    def provider(seconds: int) -> Object:
        body = json.dumps({"exp": datetime.now(UTC).timestamp() + seconds}).encode()
        token = f"h.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.s"
        return {"auth-provider": {"name": "oidc", "config": {"id-token": token}}}

    assert asked(write(provider(60)))["headers"]["Authorization"][0].startswith("Bearer h.")
    with pytest.raises(CliError, match="Run kubectl version, which renews it"):
        asked(write(provider(-60)))


# --- proxies -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_proxy_of_the_kubeconfig(secure: bool, write: Any, server: Echo, authority: Authority) -> None:
    mine = authority.issue("proxy.example.org", "IP:127.0.0.1")
    with ConnectProxy("ann", "p@w") as proxy, TlsFront(("127.0.0.1", proxy.port), mine.certificate, mine.key) as front:
        url = f"https://ann:p%40w@127.0.0.1:{front.port}" if secure else f"http://ann:p%40w@127.0.0.1:{proxy.port}"
        objects = Objects(write({"token": "t"}, **{"proxy-url": url}))
        for _ in range(2):
            answer = asked("", objects)
            assert answer["headers"]["Authorization"] == ["Bearer t"]
            assert "Proxy-Authorization" not in answer["headers"]
        assert proxy.opened == [f"127.0.0.1:{server.server_port}"]
        wrong = url.replace("ann:", "bob:")
        with pytest.raises(Unreachable, match=r"the proxy 127.0.0.1:\d+ does not connect: .* 407") as refused:
            asked(write({"token": "t"}, **{"proxy-url": wrong}))
        assert "p@w" not in str(refused.value)


def test_a_proxy_of_the_environment(write: Any, server: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **settings: Any) -> Any:
        """As if a name server knew the name in the certificate."""
        return real("127.0.0.1" if host == "api.example.org" else host, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    named = f"https://api.example.org:{server.server_port}"
    with ConnectProxy("ann", "pw") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"ann:pw@127.0.0.1:{proxy.port}")
        asked(write({"token": "t"}))  # this machine
        assert proxy.opened == []
        asked(write({"token": "t"}, server=named))
        assert proxy.opened == [f"api.example.org:{server.server_port}"]
        monkeypatch.setenv("NO_PROXY", ".example.org")
        asked(write({"token": "t"}, server=named))
        assert len(proxy.opened) == 1


def test_a_proxy_is_asked_for_the_whole_url_without_tls(write: Any) -> None:
    plain = Echo(None)
    try:
        proxy = f"http://ann:pw@127.0.0.1:{plain.server_port}"
        answer = asked(write({"token": "t"}, server="http://api.invalid:8080", **{"proxy-url": proxy}))
    finally:
        plain.shutdown()
        plain.server_close()
    assert answer["path"] == "http://api.invalid:8080/version"
    assert answer["headers"]["Proxy-Authorization"] == ["Basic " + base64.b64encode(b"ann:pw").decode()]


@pytest.mark.parametrize(
    ("host", "no", "excluded"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("api.example.org", "", False),
        ("api.example.org", "*", True),
        ("api.example.org", "other, example.org", True),
        ("api.example.org", ".example.org", True),
        ("api.example.org", "*.example.org", True),
        ("api.example.org", "ple.org", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("api.example.org", "api.example.org:6443", True),
        ("api.example.org", "api.example.org:443", False),
        ("fd00::1", "[fd00::1]:6443", True),
        ("fd00::1", "fd00::1", True),
    ],
)
def test_hosts_without_a_proxy(host: str, no: str, excluded: bool) -> None:
    assert _excluded(host, 6443, no) is excluded


# --- the file ------------------------------------------------------------------------------------------------
def test_several_files_are_merged_and_the_first_one_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    config(first / "config", {"server": "https://one:1", "certificate-authority": "ca"}, {"token": "1"})
    config(second / "config", {"server": "https://two:2"}, {"token": "2"}, "y")
    both = {"KUBECONFIG": f"{tmp_path / 'none'}:{first / 'config'}:{second / 'config'}"}
    found = kubeconfig.target(None, None, both)
    assert (found.cluster["certificate-authority"], found.namespace) == (str(first / "ca"), "in-x")
    assert kubeconfig.target(None, "y", both).user == {"token": "2"}
    config(second / "config", {"server": "https://two:2"}, {"token": "2"})
    assert kubeconfig.target(None, None, both).user == {"token": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("current-context: x", "contexts has no 'x'. It has: none"),
        ("contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x", "clusters has no 'c'"),
        ("contexts: [{name: x, context: {cluster: c}}]", "names no context"),
        ("a: [", "while parsing"),
        ("- 1", "is not a mapping"),
        ("contexts: [x]", "an entry of contexts is not a mapping"),
        ("users: [{name: x, user: {exec: y}}]", "exec of a user is not a mapping"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CliError, match=f"cannot read the kubeconfig: .*{message}"):
        kubeconfig.target(str(path), None, {})
    with pytest.raises(CliError, match="No such file or directory"):
        kubeconfig.target(str(tmp_path / "none"), None, {})


@pytest.mark.parametrize("url", ["", "ftp://x", "https://", "https://x:y"])
def test_a_wrong_server_says_what_is_wrong(url: str, write: Any) -> None:
    with pytest.raises(CliError, match=r"server of the cluster in the kubeconfig is .* Write http://HOST:PORT"):
        Objects(write({}, server=url))


def test_a_pod_has_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CliError, match="does not exist or is empty"):
        kubeconfig.target(None, None, environment)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("shop\n")
    found = kubeconfig.target(None, None, environment)
    assert found.namespace == "shop"
    assert found.cluster == {"server": "https://[fd00::1]:443", "certificate-authority": str(tmp_path / "ca.crt")}
    assert found.user == {"tokenFile": str(tmp_path / "token")}
    with pytest.raises(CliError, match="'other'"):
        kubeconfig.target(None, "other", environment)
