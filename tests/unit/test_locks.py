"""The lock files of the dependencies."""

import re
import subprocess

import pytest

from support.cluster.cluster import REPOSITORY

LOCKS = REPOSITORY / "requirements"
#: Of those that are installed into the images, and of the plugin.
INSTALLED = ["api", "cli", "demo", "mover", "operator"]


def versions(name: str) -> set[tuple[str, str]]:
    """Package and version."""
    return set(re.findall(r"^([\w.-]+)==([\w.+]+)", (LOCKS / f"{name}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_installed_is_what_the_tests_run_with(name: str) -> None:
    locked = versions(name)
    assert len(locked) > 5
    assert locked - versions("dev") == set()


def test_no_lock_names_an_address() -> None:
    files = sorted(LOCKS.iterdir())
    assert {f.stem for f in files if f.suffix == ".txt"} >= {*INSTALLED, "dev"}
    assert [f.name for f in files if "://" in f.read_text()] == []


def test_a_python_that_cannot_make_an_environment_is_not_taken() -> None:
    """The distribution's comes first: of two with the same tests it needed a third less of the processor."""
    chosen = subprocess.run([LOCKS / "python"], capture_output=True, text=True, check=True).stdout.strip()
    assert subprocess.run([chosen, "-c", "import ensurepip"], check=False).returncode == 0
