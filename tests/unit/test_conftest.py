"""What tests/conftest.py changes for all tests."""

import ast
import os
import re
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


def test_a_skip_is_a_failure(tree: pytest.Pytester) -> None:
    tree.makepyfile(**{f"test_{how.replace(' ', '_')}": text for how, text in SKIPS.items()})
    assert tree.runpytest_subprocess(*RUN).ret == pytest.ExitCode.OK
    result = tree.runpytest_subprocess("--no-skips", "--continue-on-collection-errors", "-rfE", *RUN)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, errors=3)
    details, _, summary = result.stdout.str().partition("short test summary info")
    for how in SKIPS:
        file = f"test_{how.replace(' ', '_')}.py"
        (line,) = [text for text in summary.splitlines() if file in text]
        assert line.startswith(("FAILED ", "ERROR ")), line
        assert [text for text in details.splitlines() if file in text and "no server" in text], file


@pytest.mark.parametrize(
    ("options", "ran"),
    [((), "plain"), (("--long",), "plain slow"), (("--nodes",), "two"), (("--nodes", "--long"), "two long_two")],
)
def test_what_needs_two_nodes_runs_only_when_asked_for(
    tree: pytest.Pytester, options: tuple[str, ...], ran: str
) -> None:
    """On a cluster of one node it would be a skipped test, which is a failure."""
    tree.makepyfile(
        test_it="""
        import pytest
        def test_plain(): pass
        @pytest.mark.long
        def test_slow(): pass
        @pytest.mark.nodes
        def test_two(): pass
        @pytest.mark.long
        @pytest.mark.nodes
        def test_long_two(): pass
        """
    )
    result = tree.runpytest_subprocess("-v", *options, *RUN)
    assert [
        name for name in ("plain", "slow", "two", "long_two") if f"test_{name} PASSED" in result.stdout.str()
    ] == ran.split()


def test_make_test_gives_the_option(repository: Path) -> None:
    """All test targets of the Makefile run the one command."""
    lines = makefile(repository).splitlines()
    (command,) = [line for line in lines if line.startswith("PYTEST :=")]
    assert "--no-skips" in command
    assert not [line for line in lines if "-m pytest" in line and line != command]


@pytest.mark.parametrize("arguments", [("-q", *RUN), ("-v", *RUN), ("-n", "1", "-p", "no:randomly")], ids=" ".join)
def test_a_failure_in_ci_is_explained_as_elsewhere(
    tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Not by a whole diff: the one of 15 restored files took seven minutes. Either variable alone causes it."""
    tree.makepyfile("def test_it():\n    assert {n: 'left' for n in range(50)} == {n: 'right' for n in range(50)}\n")
    for variable in ("CI", "BUILD_NUMBER"):
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


def test_a_server_is_used_in_the_folders_that_are_collected_for_it(tree: pytest.Pytester, repository: Path) -> None:
    (line,) = re.findall(r"^SERVER_TESTS := \$\(addprefix tests/unit/,(.*)\)$", makefile(repository), re.MULTILINE)
    text = (repository / "tests/conftest.py").read_text()
    assert tuple(line.split()) == ast.literal_eval(text.partition("SERVER_FOLDERS = ")[2].partition("\n")[0])
    (tree.path / "unit").mkdir()
    (tree.path / "unit/test_it.py").write_text(
        "import pytest\n@pytest.fixture\ndef s3():\n    pass\ndef test_it(s3):\n    pass\n"
    )
    result = tree.runpytest_subprocess(*RUN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*add what it asks for to SERVER_FIXTURES, and its folder to SERVER_FOLDERS*"])


def makefile(repository: Path) -> str:
    return (repository / "Makefile").read_text()


def test_a_server_is_used_by_a_test_for_servers_only(tree: pytest.Pytester) -> None:
    """Asked for by the name in a parameter: a name that the conftest knows, another one, and no server."""
    (tree.path / "unit/mover").mkdir(parents=True)
    for parameter in ("s3", "other", "none"):
        (tree.path / f"unit/mover/test_{parameter}.py").write_text(
            "import pytest\n"
            "@pytest.fixture\ndef s3():\n    pass\n"
            "@pytest.fixture\ndef other(s3):\n    pass\n"
            "@pytest.fixture\ndef none():\n    pass\n"
            f"@pytest.fixture(params=['{parameter}'])\ndef store(request):\n"
            "    request.getfixturevalue(request.param)\n"
            "def test_it(store):\n    pass\n"
        )
    result = tree.runpytest_subprocess("-rpE", *RUN)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines_random(["PASSED *test_s3.py*", "PASSED *test_none.py*", "ERROR *test_other.py*"])
    result = tree.runpytest_subprocess("-m", "servers", "-rp", *RUN)
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines(["PASSED *test_s3.py*"])
