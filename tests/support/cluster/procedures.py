"""The procedures of docs/recovery.md, and docs/tutorial.md: tests run the commands that the pages print."""

import os
import re
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cluster import REPOSITORY, Cluster

PAGE = REPOSITORY / "docs/recovery.md"
#: Under this heading the page sets the variables that its commands use.
VARIABLES = "The procedures"
_STEP = re.compile(r"^(\d+)\. ", re.MULTILINE)
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def section(title: str, page: Path = PAGE) -> str:
    """The text below a heading of the page, up to the next one. Raises ValueError where there is none."""
    _, _, rest = page.read_text().partition(f"\n## {title}\n")
    if not rest:
        raise ValueError(f"{page} has no heading {title}")
    return rest.partition("\n## ")[0]


def blocks(text: str) -> list[str]:
    """The shell commands of its fenced blocks."""
    return [textwrap.dedent(block) for _, block in _BLOCK.findall(text)]


def steps(title: str) -> dict[int, str]:
    """Number of a step → its commands, of the steps that have some."""
    _, *parts = _STEP.split(section(title))
    scripts = {int(n): "\n".join(blocks(text)) for n, text in zip(parts[::2], parts[1::2], strict=True)}
    return {number: script for number, script in scripts.items() if script}


@contextmanager
def _terminal(typed: str) -> Iterator[int]:
    """The input of a program: a terminal at which that is typed, or none."""
    if not typed:
        yield subprocess.DEVNULL
        return
    person, program = os.openpty()
    try:
        os.write(person, typed.encode())
        yield program
    finally:
        os.close(program)
        os.close(person)


class Shell:
    """A person at a shell in one namespace, with `kubectl ocore`, in the checkout."""

    def __init__(
        self, cluster: Cluster, namespace: str, folder: Path, variables: dict[str, str], start_in: Path = REPOSITORY
    ) -> None:
        self._folder, self._start_in = folder, start_in
        self._env = {**os.environ, **cluster.env, **variables}
        self._env["PATH"] = f"{REPOSITORY}/cli:{self._env['PATH']}"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(Path(cluster.env["KUBECONFIG"]).read_text())
        kubeconfig.chmod(0o600)
        self._env["KUBECONFIG"] = str(kubeconfig)
        self.run(f"kubectl config set-context --current --namespace={namespace}", 30)

    def run(self, script: str, timeout: float, typed: str = "") -> str:
        """Runs the commands; their output. Variables that they set are there in later ones. Fails where a command
        fails. `typed`: what the person answers, at a terminal."""
        known = self._folder / "variables"
        before = f". {known}\n" if known.exists() else ""
        with _terminal(typed) as stdin:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", f"{before}set -a\n{script}\nexport -p >{known}"],
                env=self._env,
                cwd=self._start_in,
                text=True,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout


class Rehearsal(Shell):
    """One procedure, step by step."""

    def __init__(self, cluster: Cluster, namespace: str, title: str, folder: Path, variables: dict[str, str]) -> None:
        super().__init__(cluster, namespace, folder, variables)
        self.left = steps(title)

    def step(self, number: int, timeout: float = 420) -> str:
        """Runs the step's commands, as :meth:`run`."""
        return self.run(self.left.pop(number), timeout)


@contextmanager
def rehearsed(cluster: Cluster, namespace: str, title: str, folder: Path, **variables: str) -> Iterator[Rehearsal]:
    """A rehearsal of which every step with commands must be run within the block."""
    found = Rehearsal(cluster, namespace, title, folder, variables)
    yield found
    assert not found.left, f"steps of {title} that were not run: {sorted(found.left)}"
