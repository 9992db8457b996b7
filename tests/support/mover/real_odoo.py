"""A real Odoo, where ``OCORE_ODOO`` names one: an archive, or a folder with `odoo-bin`. Tests marked `odoo` run only
then.

What is slow is made once and kept in the cache, by the digest of what it is made of: the unpacked tree, its wheels, and
an installed database with its filestore. Nothing of Odoo is in this repository.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.mover.desk import Desk
from support.mover.postgres_majors import Server, cache, create_role, running
from support.mover.sinks import Sinks
from support.mover.site import Site

VARIABLE = "OCORE_ODOO"
#: What the tests use of it: everything that acts on the world outside, as far as the archive has it.
MODULES = (
    *("sale_management", "contacts", "portal", "sms", "delivery", "payment_stripe", "cloud_storage"),
    *("auth_passkey", "auth_oauth", "google_gmail"),
)
#: Versions of Python that Odoo 18 runs with; the archive's wheels were tried with the first one.
PYTHONS = ("3.13", "3.12", "3.11", "3.10")
_SECONDS = 900
#: Major of PostgreSQL.
OLDEST = 15
#: What production always has: a mail in the queue, a passkey, a colleague with a device for push, other services. With
#: addresses of sinks in place of HOST, SMTP and HTTP.
_PRODUCTION = """
import base64, json, os
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip('=')

key = ec.generate_private_key(ec.SECP256R1()).public_key()
point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
colleague = env['res.users'].create({
    'name': 'colleague', 'login': 'colleague', 'email': 'colleague@example.com', 'notification_type': 'inbox'})
env['ir.mail_server'].create({'name': 'production', 'smtp_host': 'HOST', 'smtp_port': SMTP})
env['mail.push.device'].get_web_push_vapid_public_key()
env['mail.push.device'].create({
    'partner_id': colleague.partner_id.id, 'endpoint': 'http://HOST:HTTP/device',
    'keys': json.dumps({'p256dh': b64(point), 'auth': b64(os.urandom(16))})})
env.cr.execute("INSERT INTO auth_passkey_key (name, credential_identifier, public_key) VALUES ('k', 'c', 'p')")
env['ir.config_parameter'].set_param('cloud_storage_provider', 'azure')
provider = env.ref('payment.payment_provider_stripe')
provider.write({'stripe_secret_key': 'sk', 'stripe_publishable_key': 'pk', 'state': 'enabled'})
env['mail.template'].search([], limit=3).mail_server_id = env['ir.mail_server'].search([], limit=1)
env['iap.account'].create({'service_id': env['iap.service'].search([], limit=1).id, 'account_token': 'a' * 32})
env['auth.oauth.provider'].search([]).enabled = True
env['mail.mail'].create({'subject': 'an invoice', 'email_to': 'customer@example.com', 'body_html': 'Pay.'})
"""
#: A message to the colleague, a mail, and the queue.
ACT = """
colleague = env['res.users'].search([('login', '=', 'colleague')])
env['res.partner'].create({'name': 'a customer'}).message_post(
    body='hello', partner_ids=colleague.partner_id.ids, subtype_xmlid='mail.mt_comment')
env['mail.mail'].create({'subject': 'a mail', 'email_to': 'a@example.com', 'body_html': 'x'})
env['mail.mail'].process_email_queue()
"""
#: Every scheduled job that is on, once.
JOBS = """
for job in env['ir.cron'].search([]):
    job.method_direct_trigger()
"""


def production_for(reached: Sinks) -> str:
    """For `odoo-bin shell`: makes a database one of production, which reaches the sinks."""
    values = {"HOST": reached.host, "SMTP": str(reached.smtp), "HTTP": str(reached.http)}
    return re.sub(r"\b(HOST|SMTP|HTTP)\b", lambda found: values[found[1]], _PRODUCTION)


def given() -> Path | None:
    """Where Odoo is; None where no one says it."""
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


@dataclass(frozen=True)
class Program:
    """An unpacked Odoo that can run."""

    tree: Path
    python: Path
    kept: Path  # the folder of the cache

    def run(self, server: Server, user: str, password: str, data: Path, *arguments: str, text: str = "") -> str:
        """Runs `odoo-bin` and returns its output. A failure is an assertion with its last lines."""
        done = subprocess.run(
            [*self.command(server, user, password, data, arguments[0]), *arguments[1:]],
            **{"input": textwrap.dedent(text)} if text else {"stdin": subprocess.DEVNULL},  # type: ignore[arg-type]
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.tree, timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        assert "Traceback" not in done.stdout, done.stdout[-3000:]
        return done.stdout

    def command(self, server: Server, user: str, password: str, data: Path, name: str) -> list[str]:
        """`odoo-bin NAME` with the options that every subcommand has."""
        # Options, not variables: those of libpq would reach the tests' own clients.
        options = {"db_host": "127.0.0.1", "db_port": server.port, "db_user": user, "db_password": password}
        addons = [folder for folder in (self.tree / "addons", self.tree / "odoo/addons") if folder.is_dir()]
        return [
            *(str(self.python), "-W", "ignore", "odoo-bin", name, f"--data-dir={data}"),
            f"--addons-path={','.join(map(str, addons))}",
            *(f"--{key}={value}" for key, value in options.items()),
        ]


@contextmanager
def _once(target: Path) -> Iterator[Path | None]:
    """A folder to fill for the block, which then becomes `target`; None where that exists."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        made = target.with_suffix(".tmp")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        yield made
        made.rename(target)


def own_neutralisation() -> str:
    """The `neutralize.sql` of all modules; with an archive, those in the folder `neutralize` beside it as well."""
    place, tree, _ = _unpacked()
    files = [*tree.glob("**/neutralize.sql"), *place.parent.glob("neutralize/*.sql")]
    return "\n;\n".join(path.read_text() for path in sorted(files))


def program() -> Program:
    """Unpacks and installs it, unless the cache has it."""
    _, tree, kept = _unpacked()
    return Program(tree, _python(tree, kept), kept)


def _unpacked() -> tuple[Path, Path, Path]:
    """What was given, the tree, and the folder of the cache."""
    place = given()
    assert place is not None, f"{VARIABLE} names no Odoo"
    assert place.exists(), f"{VARIABLE}: {place} does not exist"
    marks = place.read_bytes() if place.is_file() else f"{place.resolve()}\n{_release(place)}".encode()
    kept = cache() / "odoo" / hashlib.sha256(marks).hexdigest()[:12]
    tree = place
    if place.is_file():
        with _once(kept / "tree") as made:
            if made is not None:
                subprocess.run(["tar", "--zstd", "-xf", str(place), "-C", str(made)], check=True, timeout=_SECONDS)
        tree = next(path.parent for path in (kept / "tree").glob("**/odoo-bin"))
    return place, tree, kept


def _release(place: Path) -> str:
    return (place / "odoo/release.py").read_text()


def _python(tree: Path, kept: Path) -> Path:
    """The Python of a virtual environment with what Odoo requires."""
    wanted = next(path for name in ("requirements-tested.txt", "requirements.txt") if (path := tree / name).exists())
    folder = kept / f"venv-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        # Made in its place: a virtual environment cannot be moved. `ready` says that it is whole.
        folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([_interpreter(), "-m", "venv", str(folder)], check=True, timeout=_SECONDS)
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--prefer-binary", "-r", str(wanted)]
            subprocess.run(pip, check=True, timeout=_SECONDS)
            (folder / "ready").touch()
    return folder / "bin/python"


def _interpreter() -> str:
    """A Python that Odoo runs with: on the path, or one of pyenv's."""
    for version in PYTHONS:
        kept = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
        for path in (shutil.which(f"python{version}"), *map(str, kept)):
            if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                return path
    raise AssertionError(f"Odoo needs one of Python {', '.join(PYTHONS)}; none is installed")


@dataclass(frozen=True)
class Installed:
    """A database with the modules, and its filestore, both in the cache."""

    program: Program
    dump: Path
    filestore: Path


def installed(server: Server) -> Installed:
    """Installs the modules into a new database of the server, unless the cache has the result."""
    found = _result(server.major)
    with _once(found.dump.parent) as made:
        if made is not None:
            role = create_role(server, "odoo-install", "CREATEDB")
            name = "odoo_install"
            server.execute(f'DROP DATABASE IF EXISTS "{name}"')
            server.execute(f'CREATE DATABASE "{name}" OWNER "{role.name}"')
            arguments = ("-d", name, "-i", ",".join(MODULES), "--without-demo=all", "--stop-after-init", "--no-http")
            found.program.run(server, role.name, role.password, made / "data", "server", *arguments)
            (made / "data/filestore" / name).rename(made / "filestore")
            _client(server, role.name, role.password, "pg_dump", "-Fc", "-f", str(made / "dump"), name)
            shutil.rmtree(made / "data")
            server.execute(f'DROP DATABASE "{name}"')
    return found


def prepared() -> Installed:
    """The same for a test with any server. Dumps of the oldest major load everywhere."""
    found = _result(OLDEST)
    if not found.dump.exists():
        with running(OLDEST) as server:
            installed(server)
    return found


def _result(major: int) -> Installed:
    """Where it is in the cache."""
    found = program()
    key = hashlib.sha256(repr((MODULES, major)).encode()).hexdigest()[:12]
    folder = found.kept / f"installed-{key}"
    return Installed(found, folder / "dump", folder / "filestore")


def load(made: Installed, programs: Path, host: str, port: int, user: str, password: str, database: str) -> None:
    """Loads the dump into an empty database of any server."""
    restore = ("--no-owner", "--no-comments", "-j", "2", "-d", database, str(made.dump))
    _run(programs / "pg_restore", host, port, user, password, *restore)


def _client(server: Server, user: str, password: str, name: str, *arguments: str) -> None:
    _run(server.bin / name, "127.0.0.1", server.port, user, password, *arguments)


def _run(program: Path, host: str, port: int, user: str, password: str, *arguments: str) -> None:
    command = [str(program), "-h", host, "-p", str(port), "-U", user, "--no-password"]
    done = subprocess.run(
        [*command, *arguments], env={**os.environ, "PGPASSWORD": password}, capture_output=True, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


class Odoo(Desk):
    """An Odoo of a test's own, and a person at a shell beside it."""

    def __init__(self, site: Site, folder: Path, made: Installed) -> None:
        super().__init__(site, folder)
        self.program = made.program
        self.admin: Path | None = None  # a mounted Secret
        self.data = self.claim / "odoo"
        self.path = f"odoo/filestore/{site.live}"
        shutil.copytree(made.filestore, self.claim / self.path)
        role, server = site.role, site.server
        load(made, server.bin, "127.0.0.1", server.port, role.name, role.password, site.live)

    def odoo(self, *arguments: str, text: str = "") -> str:
        """`odoo-bin SUBCOMMAND …` in the live database."""
        role, server = self.site.role, self.site.server
        return self.program.run(server, role.name, role.password, self.data, *arguments, text=text)

    def shell(self, text: str) -> str:
        """Python in `odoo-bin shell`, committed at the end."""
        more = "\nenv.cr.commit()\n"
        return self.odoo("shell", "-d", self.site.live, "--no-http", text=textwrap.dedent(text) + more)


@pytest.fixture
def odoo(site_any: Site, tmp_path: Path) -> Odoo:
    """An installed Odoo whose database and filestore are this test's own."""
    return Odoo(site_any, tmp_path, prepared())
