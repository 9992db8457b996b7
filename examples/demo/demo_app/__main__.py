"""``python3 -m demo_app COMMAND``. Exit code 0: done, all well; 1: something is missing or wrong; 2: it could not be
checked."""

import argparse
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import psycopg

from .database import connect, connect_within, create_schema, neutralize
from .filestore import CHECKLIST, Filestore
from .settings import Settings, SettingsError
from .shop import GarbageCollectionBusyError, collect_garbage

_EPILOG = """\
The database is found by DEMO_DATABASE (folder of a mounted Secret: uri, or host port dbname user password) or libpq's
PG* variables, the filestore by DEMO_FILESTORE.

examples:
  PGHOST=127.0.0.1 PGDATABASE=shop DEMO_FILESTORE=/tmp/filestore python3 -m demo_app init
  python3 -m demo_app serve --port 8080
  python3 -m demo_app load --url http://shop:8080 --seconds 60 --rate 20
  python3 -m demo_app load --seconds 30 --writers 30 --rate 500 --gc-interval 1     # straight to database and filestore
  python3 -m demo_app check --dbname shop_rb_1a2b3c4d                            # a restored copy
"""


def main(arguments: list[str] | None = None) -> int:
    """Parses and runs; prints known errors as messages. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "load":
            return _load(options)
        if options.command == "neutralize":
            return _neutralize(options)
        settings = _settings(options)
        return int(_COMMANDS[options.command](settings, options))
    except (SettingsError, ValueError) as error:
        print(f"demo_app: {error}", file=sys.stderr)
        return 2
    except (psycopg.Error, GarbageCollectionBusyError, OSError) as error:
        print(f"demo_app: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _settings(options: argparse.Namespace) -> Settings:
    environ = dict(os.environ)
    for option, variable in (
        ("database", "DEMO_DATABASE"),
        ("dbname", "DEMO_DBNAME"),
        ("filestore", "DEMO_FILESTORE"),
        ("port", "DEMO_PORT"),
    ):
        value = getattr(options, option, None)
        if value is not None:
            environ[variable] = str(value)
    return Settings.from_environment(environ)


def _init(settings: Settings, options: argparse.Namespace) -> int:
    """Creates missing tables and folders; changes nothing that exists."""
    (settings.filestore / CHECKLIST).mkdir(parents=True, exist_ok=True)
    with connect_within(settings, options.wait) as connection:
        create_schema(connection)
        print(f"demo_app: database {connection.info.dbname} and {settings.filestore} are ready", flush=True)
    return 0


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    from .web import serve

    if options.init:
        _init(settings, options)
    serve(settings, host=options.host)
    return 0


def _check(settings: Settings, options: argparse.Namespace) -> int:
    from .check import check

    with connect(settings) as connection:
        report = check(connection, Filestore(settings.filestore), threads=options.threads)
    print(json.dumps(report.wire(), indent=2), flush=True)
    return 0 if report.ok else 1


def _gc(settings: Settings, options: argparse.Namespace) -> int:
    filestore = Filestore(settings.filestore)
    if options.all:
        for fname in list(filestore.names()):
            filestore.mark_for_gc(fname)
    with connect(settings) as connection:
        print(json.dumps(asdict(collect_garbage(connection, filestore))), flush=True)
    return 0


def _damage(settings: Settings, _options: argparse.Namespace) -> int:
    from .damage import damage

    with connect(settings) as connection:
        print(json.dumps(asdict(damage(connection, Filestore(settings.filestore)))), flush=True)
    return 0


def _neutralize(options: argparse.Namespace) -> int:
    """Needs the database only."""
    settings = Settings(filestore=Path(), database=options.database, dbname=options.dbname)
    with connect(settings) as connection:
        neutralize(connection)
        print(f"demo_app: database {connection.info.dbname} is neutralised", flush=True)
    return 0


def _load(options: argparse.Namespace) -> int:
    from .load import PROBE_TIMEOUT, Load, LoadPlan
    from .targets import DirectTarget, HttpTarget, Target

    plan = LoadPlan(
        seconds=options.seconds,
        rate=options.rate,
        writers=options.writers,
        burst=options.burst,
        delete_share=options.delete_share,
        gc_seconds=options.gc_interval,
        max_bytes=options.max_bytes,
        seed=options.seed,
    )
    target: Target = (
        HttpTarget(options.url) if options.url else DirectTarget(_settings(options), connections=plan.writers + 1)
    )
    probe = HttpTarget(options.url, PROBE_TIMEOUT) if options.url else None
    load = Load(target, plan, emit=lambda line: print(line, flush=True), probe=probe)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: load.stop.set())
    return 0 if load.run().orders else 1


_COMMANDS = {"init": _init, "serve": _serve, "check": _check, "gc": _gc, "damage": _damage}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m demo_app",
        description="A small shop over PostgreSQL and a filestore that keeps attachments exactly as Odoo does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--database", type=Path, metavar="FOLDER", help="mounted Secret (DEMO_DATABASE)")
    where.add_argument("--dbname", help="another database of the same server (DEMO_DBNAME)")
    where.add_argument("--filestore", type=Path, metavar="FOLDER", help="the filestore (DEMO_FILESTORE)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    init = commands.add_parser(
        "init", parents=[where], help="create missing tables and folders; changes nothing that exists"
    )
    serve = commands.add_parser("serve", parents=[where], help="the web process: a page, an API, /healthz, /readyz")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (%(default)s)")  # noqa: S104
    serve.add_argument("--port", type=int, help="port to listen on (DEMO_PORT, 8080)")
    serve.add_argument("--init", action="store_true", help="create missing tables and folders first")
    for command in (init, serve):
        command.add_argument("--wait", type=float, default=60, help="seconds to wait for the server (%(default)s)")

    check = commands.add_parser(
        "check", parents=[where], help="check that every row's file exists and has the right content; JSON on stdout"
    )
    check.add_argument("--threads", type=int, default=4, help="files read concurrently (%(default)s)")
    gc = commands.add_parser("gc", parents=[where], help="collect garbage, as Odoo does")
    gc.add_argument("--all", action="store_true", help="check every file, not only those on the checklist")
    commands.add_parser("damage", parents=[where], help="delete most orders and many files: what a rollback repairs")

    off = commands.add_parser(
        "neutralize", help="turn off mail, jobs and payments in a copy; finds it by libpq's PG* variables"
    )
    off.add_argument("--database", type=Path, metavar="FOLDER", help="mounted Secret")
    off.add_argument("--dbname", help="another database of the same server")

    load = commands.add_parser("load", parents=[where], help="place and delete orders, collect garbage; JSON lines")
    load.add_argument("--url", help="the web process; without it the database and filestore are written to directly")
    load.add_argument("--seconds", type=float, default=60, help="how long (%(default)s)")
    load.add_argument("--rate", type=float, default=50, help="writes per second of all writers together (%(default)s)")
    load.add_argument("--writers", type=int, default=4, help="concurrent writers (%(default)s)")
    load.add_argument("--burst", type=int, default=0, help="orders placed first, as fast as possible (%(default)s)")
    load.add_argument("--delete-share", type=float, default=0.25, help="writes that delete a draft (%(default)s)")
    load.add_argument(
        "--gc-interval", type=float, default=5, help="seconds between collections, 0 for none (%(default)s)"
    )
    load.add_argument("--max-bytes", type=int, default=64 * 1024, help="largest attachment (%(default)s)")
    load.add_argument("--seed", type=int, default=1, help="the same seed gives the same orders (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
