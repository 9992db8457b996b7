"""What the start of a command loads. Most of a short Job's time is its start, and models are built when their module is
imported."""

import json
import subprocess
import sys

import pytest

from ocore_crds.commands.base import NAMES
from ocore_crds.commands.table import COMMANDS

#: Prints the modules that the entry point loads, then those that each command loads further, a JSON line each.
PROGRAM = """if True:
    import importlib, json, os, sys
    import ocore_mover.__main__
    from ocore_mover import requests
    start = set(sys.modules)
    print(json.dumps(["", sorted(start)]), flush=True)
    for name in sys.argv[1:]:
        child = os.fork()
        if child == 0:
            requests.command(name)
            importlib.import_module("ocore_mover.commands." + name.replace("-", "_"))
            print(json.dumps([name, sorted(set(sys.modules) - start)]), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, name
"""
PACKAGES = ("ocore_crds", "ocore_mover")
#: Commands that work on a store alone, or may. The others need a database, and load its client.
OF_STORES = {
    "check-copy",
    "copy-remote",
    "delete",
    "extract",
    "inspect",
    "list-manifests",
    "probe-store",
    "remove-extract",
    "remove-orphans",
    "sweep",
    "verify",
    "write-state",
}
#: What no command in a Job loads: the models of all commands, those of the kinds, the command line, the S3 client
#: before a store in S3 is opened.
NEVER = {
    "boto3",
    "botocore",
    "ocore_crds.commands.table",
    "ocore_crds.resources.environment",
    "ocore_crds.protocol",
    "ocore_crds.resources.snapshot",
    "rich",
    "typer",
}
#: Models of other commands that a command needs: what it does is a part of theirs, or it reports their result.
BORROWED = {
    "cleanup": {"probe", "switch"},
    "delete": {"check_copy"},
    "inspect": {"probe", "snapshot", "switch"},
    "list-manifests": {"snapshot"},
    "preview": {"restore", "probe", "switch"},
    "remove-orphans": {"sweep"},
    "restore": {"probe", "switch"},
    "snapshot": {"probe"},
}
#: Modules of ``ocore_crds.commands`` that have no command, and the one that reads the id of a store.
SHARED = {"base", "carrier", "parts", "probe_store"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Command → modules that it loads beyond the entry point's; those are at the empty name."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *NAMES], check=True, timeout=120, capture_output=True, text=True
    )
    return {name: set(modules) for name, modules in map(json.loads, done.stdout.splitlines())}


def test_the_names_are_those_of_the_table() -> None:
    assert tuple(COMMANDS) == NAMES


def test_the_entry_point_loads_no_command(loaded: dict[str, set[str]]) -> None:
    modules = loaded[""]
    assert "ocore_mover.commands.runtime" in modules
    commands = {f"{package}.commands.{name.replace('-', '_')}" for package in PACKAGES for name in NAMES}
    assert modules & commands == set()
    assert modules & (NEVER | {"psycopg", "ocore_mover.filestore.layouts"}) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_command_loads_what_it_needs(loaded: dict[str, set[str]], name: str) -> None:
    modules = loaded[name]
    assert modules & NEVER == set()
    models = {m.rpartition(".")[2] for m in modules if m.startswith("ocore_crds.commands.")}
    own = {name.replace("-", "_")}
    assert own <= models <= own | BORROWED.get(name, set()) | SHARED
    assert ("psycopg" in modules) == (name not in OF_STORES)
