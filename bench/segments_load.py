"""The databases of `segments.py`: how each comes about, and what an hour of ordinary work does to it.

The history of each is a month of 176 hours of the same work, the least that a business has: a longer one makes the
share of an hour smaller.
"""

import random
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from demo_app.database import SCHEMA
from demo_app.filestore import Filestore
from demo_app.shop import NewAttachment, place_order
from support.mover.postgres_majors import Server, cache, create_role
from support.mover.real_odoo import JOBS, prepared
from support.mover.real_odoo import load as load_odoo

HISTORY = 176
#: Orders an hour.
ORDERS = 4
#: Of the database, in pgbench's hours (issue 47: 0.5 % of the rows an hour).
UPDATED = 0.005
TRYTON = (
    "trytond==8.2.1",
    "trytond-sale==8.2.0",
    "trytond-stock==8.2.1",
    "proteus==8.2.0",
    "psycopg[binary,pool]==3.3.9",
)
_SECONDS = 3600


class Load(ABC):
    """One database on a server of its own."""

    name: str

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.role = create_role(server, self.name, "SUPERUSER")
        server.execute(f"CREATE DATABASE {self.name} OWNER {self.name}")
        self.url = f"postgresql://{self.name}:{self.role.password}@127.0.0.1:{server.port}/{self.name}"

    @abstractmethod
    def prepare(self) -> None:
        """The history."""

    @abstractmethod
    def hour(self, number: int) -> None:
        """Ordinary work."""

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """In the load's database; triggers and foreign keys are off."""
        with self.server.connect(self.name) as connection:
            connection.execute("SET session_replication_role = replica")
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def events(self) -> dict[str, Callable[[], object]]:
        """What is not ordinary, in order."""
        return {
            "VACUUM FULL": lambda: self.sql("VACUUM FULL"),
            "CLUSTER of the three largest tables in another order": self.cluster,
            "UPDATE of all rows of the three largest tables": self.update,
            "deletion of half of the three largest tables": self.delete,
        }

    def largest(self) -> list[tuple[str, str, str]]:
        """Three tables that work has filled: name, primary key, a column that an UPDATE may write."""
        found = self.sql(
            "SELECT c.oid::regclass::text, k.attname, w.attname FROM pg_class c"
            " JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1"
            " JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0] AND k.atttypid IN (20, 23)"
            " JOIN pg_attribute w ON w.attrelid = c.oid AND w.attname IN ('write_date', 'abalance', 'create_date')"
            " WHERE c.relkind = 'r' AND c.relname NOT LIKE 'ir\\_%'"
            " ORDER BY pg_table_size(c.oid) DESC, w.attname DESC"
        )
        first: dict[str, tuple[str, str, str]] = {}
        for table, key, column in found:
            first.setdefault(str(table), (str(table), str(key), str(column)))
        return list(first.values())[:3]

    def cluster(self) -> None:
        for table, key, _ in self.largest():
            self.sql(f"CREATE INDEX segments_order ON {table} (md5({key}::text))")
            self.sql(f"CLUSTER {table} USING segments_order")
            self.sql("DROP INDEX segments_order")

    def update(self) -> None:
        for table, _, column in self.largest():
            step = "1" if column == "abalance" else "interval '1 second'"
            self.sql(f"UPDATE {table} SET {column} = {column} + {step}")

    def delete(self) -> None:
        for table, key, _ in self.largest():
            self.sql(f"DELETE FROM {table} WHERE {key} % 2 = 0")


class Pgbench(Load):
    """Wide updates at random: the worst order of rows."""

    name = "pgbench"
    scale = 10

    def prepare(self) -> None:
        self.run("-i", "-q", "-s", str(self.scale))

    def hour(self, number: int) -> None:
        rows = int(self.scale * 100_000 * UPDATED)
        self.run("-n", "-c", "2", "-t", str(rows // 2), f"--random-seed={number}")

    def run(self, *arguments: str) -> None:
        _run([str(self.server.bin / "pgbench"), *arguments, self.url])


class Shop(Load):
    """The demo's."""

    name = "demo"

    def prepare(self) -> None:
        self.sql(SCHEMA)
        self.store = Filestore(self.folder / "filestore")
        self.random = random.Random(47)
        self.work(HISTORY)

    def hour(self, number: int) -> None:
        self.work(1)

    def work(self, hours: int) -> None:
        with self.server.connect(self.name) as connection:
            for _ in range(hours * ORDERS * 5):
                scan = NewAttachment("scan.pdf", self.random.randbytes(40), "application/pdf")
                state = self.random.choice(("draft", "sale"))
                place_order(
                    connection, self.store, f"Customer {self.random.randrange(500)}",
                    Decimal(self.random.randrange(10**6)) / 100, state, [scan],
                )  # fmt: skip


class Odoo(Load):
    """Odoo 18 with sales, invoices and messages."""

    name = "odoo"

    def prepare(self) -> None:
        made = prepared()
        self.program = made.program
        load_odoo(made, self.server.bin, "127.0.0.1", self.server.port, self.name, self.role.password, self.name)
        self.shell(_ODOO_START)
        self.shell(f"{_ODOO_WORK}\nfor hour in range({HISTORY}):\n    work(hour, {ORDERS})\n")

    def hour(self, number: int) -> None:
        jobs = JOBS.replace("job.method_direct_trigger()", "attempt(job.method_direct_trigger)")
        self.shell(f"{_ODOO_WORK}\nwork({1000 + number}, {ORDERS})\n{jobs}")

    def events(self) -> dict[str, Callable[[], object]]:
        return {
            "update of the module sale": lambda: self.run(
                "server", "-d", self.name, "-u", "sale", "--stop-after-init", "--no-http"
            ),
            "import of 2,000 customers and products": lambda: self.shell(_ODOO_IMPORT),
            **super().events(),
        }

    def shell(self, text: str) -> None:
        self.run("shell", "-d", self.name, "--no-http", text=f"{text}\nenv.cr.commit()\n")

    def run(self, *arguments: str, text: str = "") -> None:
        command = self.program.command(self.server, self.name, self.role.password, self.folder / "data", arguments[0])
        found = _run([*command, *arguments[1:]], text, self.program.tree)
        assert "\nTraceback" not in found or "work done" in found, found[-3000:]


_ODOO_START = """
env['account.chart.template'].try_loading('generic_coa', env.company, install_demo=False)
env['product.product'].create([
    {'name': f'Product {n}', 'list_price': 5 + n, 'default_code': f'P{n:04}',
     'description_sale': f'Goods of kind {n}, by the piece.'}
    for n in range(200)])
env['res.partner'].create([
    {'name': f'Customer {n}', 'email': f'customer{n}@example.com', 'street': f'Street {n}', 'city': f'City {n % 40}'}
    for n in range(300)])
"""
_ODOO_WORK = """
import random
partners = env['res.partner'].search([('email', 'like', 'customer')])
products = env['product.product'].search([('default_code', '!=', False)])

def attempt(act):
    try:
        act()
        env.cr.commit()
    except Exception:
        env.cr.rollback()

def work(hour, orders):
    source = random.Random(hour)
    for number in range(orders):
        if source.random() < 0.2:
            env['res.partner'].create({'name': f'New {hour}-{number}', 'email': f'new{hour}-{number}@example.com'})
        order = env['sale.order'].create({
            'partner_id': source.choice(partners).id,
            'order_line': [(0, 0, {'product_id': source.choice(products).id, 'product_uom_qty': source.randint(1, 9)})
                           for _ in range(source.randint(1, 4))]})
        order.message_post(body=f'The customer asked for delivery in week {source.randint(1, 52)}, by the morning.')
        if source.random() < 0.8:
            order.action_confirm()
            if source.random() < 0.8:
                order.order_line.filtered(lambda line: line.product_id).write({'qty_delivered': 1})
                invoice = order._create_invoices()
                invoice.action_post()
                invoice.message_post(body='Sent by post.')
        env.cr.commit()
    source.choice(products).write({'list_price': source.randint(5, 500)})
    env['res.users.log'].create({})
    env.cr.commit()
    print('work done')
"""
_ODOO_IMPORT = """
env['res.partner'].create([
    {'name': f'Imported {n}', 'email': f'import{n}@example.com', 'street': f'Road {n}'} for n in range(1000)])
env['product.product'].create([{'name': f'Imported {n}', 'default_code': f'I{n}'} for n in range(1000)])
"""


class Tryton(Load):
    """Tryton 8.2 with sales, invoices and shipments."""

    name = "tryton"

    def prepare(self) -> None:
        self.programs = _tryton()
        address = self.url.rpartition("/")[0]
        self.configuration = self.folder / "trytond.conf"
        self.configuration.write_text(f"[database]\nuri = {address}/\n")
        self.update_modules("sale", "stock")
        self.work("prepare", HISTORY)

    def hour(self, number: int) -> None:
        self.work("work", 1, 1000 + number)

    def events(self) -> dict[str, Callable[[], object]]:
        return {
            "update of the module sale": lambda: self.update_modules("sale"),
            "import of 2,000 customers and products": lambda: self.work("import", 1000),
            **super().events(),
        }

    def work(self, name: str, count: int, seed: int = 0) -> None:
        script = Path(__file__).with_name("tryton") / "segments_tryton.py"
        arguments = [name, str(self.configuration), self.url, str(count), str(ORDERS), str(seed)]
        _run([str(self.programs / "python"), str(script), *arguments])

    def update_modules(self, *modules: str) -> None:
        secret = self.folder / "password"
        secret.write_text(self.role.password)
        command = [str(self.programs / "trytond-admin"), "-c", str(self.configuration), "-d", self.name]
        options = ["--activate-dependencies", "-l", "en", "-u", *modules]
        _run(["env", f"TRYTONPASSFILE={secret}", *command, *options], "\n")


def _tryton() -> Path:
    """The programs of a virtual environment with Tryton."""
    folder = cache() / "tryton"
    if not (folder / "ready").exists():
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *TRYTON])
        (folder / "ready").touch()
    return folder / "bin"


def _run(command: list[str], text: str = "", folder: Path | None = None) -> str:
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


LOADS: dict[str, type[Load]] = {load.name: load for load in (Pgbench, Shop, Odoo, Tryton)}
