"""Completion of ``kubectl ocore`` by kubectl's own completion: it runs the program ``kubectl_complete-ocore`` with the
words so far."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

import typer
from typer.main import get_command

from ocore_crds.kinds import ENVIRONMENT, KINDS, ROLLBACK, SNAPSHOT, SNAPSHOT_STORE, Kind
from ocore_crds.text.sentences import escaped

from .app import app
from .errors import CliError, Denied, NotInstalled
from .manage import names_of
from .objects import Objects

#: Kinds of the names that an argument or an option takes, by command and parameter.
NAMES: dict[str, Kind] = {
    **dict.fromkeys(("snapshot", "doctor", "retention", "suspend", "resume"), ENVIRONMENT),
    **dict.fromkeys(("rollback", "preview", "certificate", "ls", "cp", "pin", "unpin", "verify"), SNAPSHOT),
    "undo": ROLLBACK,
}
#: The same, where the kind is written before the name.
OF_KINDS: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("watch", "evidence"), (SNAPSHOT, ROLLBACK)),
    "delete": (SNAPSHOT, ROLLBACK),
    **dict.fromkeys(("get", "describe", "logs"), KINDS),
}
OPTIONS = {"--into": ENVIRONMENT, "--source-store": SNAPSHOT_STORE}
#: Seconds after which a person has typed the name.
SECONDS = 2.0
#: Seconds more for what no signal ends: the resolver of the C library, which waits for a server of names.
MORE = 0.3
#: kubectl's sign that no names of files are proposed.
NO_FILES = ":4"


def proposals(words: list[str]) -> list[str]:
    """Lines of kubectl's protocol: a proposal, and its description after a tab. The last word is the one that is
    completed; it may be empty."""
    *before, incomplete = words or [""]
    found = dict(_proposed(before, incomplete))
    return [f"{value}\t{text}" if text else value for value, text in found.items() if value.startswith(incomplete)]


def _proposed(before: list[str], incomplete: str) -> Iterator[tuple[str, str]]:
    """Words that may come next, each with what it means: commands, then options, or the choices of one."""
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    if not before:
        yield from ((name, each.get_short_help_str()) for name, each in commands.items() if not each.hidden)
        return
    command = commands.get(before[0])
    if command is None:
        return
    options = {name: each for each in command.params if not each.hidden for name in each.opts if name.startswith("-")}
    last = options.get(before[-1])
    if incomplete.startswith("-") and (last is None or last.is_flag):
        yield from ((name, each.help or "") for name, each in options.items())
        return
    if before[-1] in OPTIONS:
        yield from _names(before, [(OPTIONS[before[-1]], "")])
        return
    if last is None or last.is_flag:
        yield from _of_argument(before, _arguments(before[1:], options))
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    for each in arguments if last is None or last.is_flag else [last]:
        yield from ((item.value, item.help or "") for item in each.shell_complete(typer.Context(command), incomplete))


def _arguments(words: list[str], options: Mapping[str, Any]) -> list[str]:
    """The words that are neither options nor their values."""
    found, value = [], False
    for word in words:
        if not value and not word.startswith("-"):
            found.append(word)
        value = not value and word in options and not options[word].is_flag
    return found


def _of_argument(before: list[str], given: list[str]) -> Iterator[tuple[str, str]]:
    """Names for the first argument of the command; those of a kind where it was the first one."""
    kinds = OF_KINDS.get(before[0], ())
    if not given:
        alone = [(NAMES[before[0]], "")] if before[0] in NAMES else []
        yield from _names(before, alone + [(each, f"{each.short}/") for each in kinds])
    elif len(given) == 1:
        yield from _names(before, [(k, "") for k in kinds if given[0] in (k.short, k.singular, k.plural)])


def _names(before: list[str], wanted: list[tuple[Kind, str]]) -> Iterator[tuple[str, str]]:
    """Names of objects in the namespace that the words so far are about, of the kinds, each with what is written before
    its names; no more of them once the API server gives none. No person is asked to log in."""
    given = dict(pairwise(before))
    namespace = given.get("-n") or given.get("--namespace")
    try:
        objects = Objects(given.get("--kubeconfig"), given.get("--context"), namespace, SECONDS, interactive=False)
        for kind, prefix in wanted:
            with suppress(Denied, NotInstalled):
                for name in names_of(objects, kind):
                    yield prefix + name, kind.kind
    except CliError:
        return


def _late(*_: object) -> None:
    raise CliError("the names took too long")


def _give_up() -> None:
    """Ends the program from another thread: Python handles a signal only between its own instructions."""
    os.write(sys.stdout.fileno(), f"{NO_FILES}\n".encode())
    os._exit(0)


def main() -> None:
    """The console script."""
    # Whatever takes the time: a credential plugin is ended with it.
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    stuck = threading.Timer(SECONDS + MORE, _give_up)
    stuck.daemon = True
    stuck.start()
    lines: list[str] = []
    with suppress(CliError):
        lines = proposals(sys.argv[1:])
    signal.setitimer(signal.ITIMER_REAL, 0)
    stuck.cancel()
    for line in lines:
        value, _, text = line.partition("\t")
        print(f"{escaped(value)}\t{escaped(text)}" if text else escaped(value))
    print(NO_FILES)


if __name__ == "__main__":
    main()
