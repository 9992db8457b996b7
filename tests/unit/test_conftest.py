"""What tests/conftest.py changes for all tests."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SKIPS = {
    "in the test": "import pytest\ndef test_it():\n    pytest.skip('no server')\n",
    "by its mark": "import pytest\n@pytest.mark.skip(reason='no server')\ndef test_it():\n    pass\n",
    "in a fixture": (
        "import pytest\n@pytest.fixture\ndef it():\n    pytest.skip('no server')\ndef test_it(it):\n    pass\n"
    ),
    "of the module": "import pytest\npytest.skip('no server', allow_module_level=True)\n",
}


RUN = ("-p", "no:xdist", "-p", "no:randomly")


@pytest.fixture
def tree(pytester: pytest.Pytester, repository: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests with the project's conftest."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*path, str(repository / "tests")]))  # for the conftest's imports
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:schemathesis")  # as pyproject.toml has it
    pytester.makeconftest((repository / "tests/conftest.py").read_text())
    return pytester


@pytest.mark.parametrize("how", SKIPS)
def test_a_skip_is_a_failure(tree: pytest.Pytester, how: str) -> None:
    tree.makepyfile(SKIPS[how])
    assert tree.runpytest_subprocess(*RUN).ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    result = tree.runpytest_subprocess("--no-skips", *RUN)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert "no server" in result.stdout.str()


def test_make_test_gives_the_option(repository: Path) -> None:
    """All test targets of the Makefile run the one command."""
    lines = (repository / "Makefile").read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("PYTEST :=")]
    assert "--no-skips" in command
    assert not [line for line in lines if "-m pytest" in line and line != command]


@pytest.mark.parametrize("arguments", [("-q", *RUN), ("-v", *RUN), ("-n", "1", "-p", "no:randomly")], ids=" ".join)
@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER"])
def test_a_failure_in_ci_is_explained_as_elsewhere(
    tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, arguments: tuple[str, ...]
) -> None:
    """Not by a whole diff: the one of 15 restored files took seven minutes."""
    tree.makepyfile("def test_it():\n    assert {n: 'left' for n in range(50)} == {n: 'right' for n in range(50)}\n")
    monkeypatch.setenv(variable, "1")
    result = tree.runpytest_subprocess(*arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "49: 'left'" not in result.stdout.str()


@pytest.mark.parametrize("arguments", [RUN, ("-n", "1", "-p", "no:randomly")], ids=" ".join)
def test_examples_in_ci_are_the_same_in_each_run(
    tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    tree.makepyfile("from hypothesis import settings\ndef test_it():\n    assert settings().derandomize\n")
    monkeypatch.setenv("CI", "1")
    tree.runpytest_subprocess(*arguments).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("parameter", "outcome"), [("s3", {"passed": 1}), ("other", {"errors": 1}), ("none", {"passed": 1})]
)
def test_a_server_is_used_by_a_test_for_servers_only(
    tree: pytest.Pytester, parameter: str, outcome: dict[str, int]
) -> None:
    """Asked for by the name in a parameter: a name that the conftest knows, another one, and no server."""
    (tree.path / "unit").mkdir()
    (tree.path / "unit/test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef s3():\n    pass\n"
        "@pytest.fixture\ndef other(s3):\n    pass\n"
        "@pytest.fixture\ndef none():\n    pass\n"
        f"@pytest.fixture(params=['{parameter}'])\ndef store(request):\n    request.getfixturevalue(request.param)\n"
        "def test_it(store):\n    pass\n"
    )
    tree.runpytest_subprocess(*RUN).assert_outcomes(**outcome)
    assert tree.runpytest_subprocess("-m", "servers", *RUN).parseoutcomes().get("passed", 0) == (parameter == "s3")
