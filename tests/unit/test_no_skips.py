"""`make test` fails where a test is skipped."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SKIPS = {
    "in the test": "import pytest\ndef test_it():\n    pytest.skip('no server')\n",
    "by its mark": "import pytest\n@pytest.mark.skip(reason='no server')\ndef test_it():\n    pass\n",
    "in a fixture": "import pytest\n@pytest.fixture\ndef it():\n    pytest.skip('no server')\ndef test_it(it):\n    pass\n",
    "of the module": "import pytest\npytest.skip('no server', allow_module_level=True)\n",
}


@pytest.mark.parametrize("how", SKIPS)
def test_a_skip_is_a_failure(
    pytester: pytest.Pytester, repository: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*path, str(repository / "tests")]))  # for the conftest's imports
    pytester.makeconftest((repository / "tests/conftest.py").read_text())
    pytester.makepyfile(SKIPS[how])
    arguments = ("-p", "no:xdist", "-p", "no:randomly")
    assert pytester.runpytest_subprocess(*arguments).ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    result = pytester.runpytest_subprocess("--no-skips", *arguments)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert "no server" in result.stdout.str()


def test_make_test_gives_the_option(repository: Path) -> None:
    """All test targets of the Makefile run the one command."""
    lines = (repository / "Makefile").read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("PYTEST :=")]
    assert "--no-skips" in command
    assert not [line for line in lines if "-m pytest" in line and line != command]
