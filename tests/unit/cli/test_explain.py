"""``kubectl ocore explain``: the entries that travel with the command."""

import pytest

from ocore_cli.errors import CliError
from ocore_crds import conditions, generate
from ocore_crds.troubleshooting import entries
from support.cli import run
from support.cluster.cluster import REPOSITORY

REASONS = {conditions.MISSING_GRANTS, conditions.JOB_USER_UNKNOWN, conditions.STORE_ACCESS_DENIED, conditions.RETAINED}


def test_the_package_has_every_entry_of_the_pages() -> None:
    """`make generate` copies them; tests/unit/test_docs.py compares them with the reasons."""
    copied = (REPOSITORY / "crds/ocore_crds/troubleshooting.md").read_text()
    pages = [(REPOSITORY / name).read_text() for name in generate.REASONS]
    assert all(page[page.index("\n## ") :] in copied for page in pages)
    assert len(entries()) == sum(page.count("\n## ") for page in pages)
    assert set(entries()) >= REASONS


def test_every_entry_says_what_to_do_without_marks() -> None:
    for reason, entry in entries().items():
        assert "Do: " in entry.text, reason
        assert "**" not in entry.text, reason
        assert "](" not in entry.text, reason
        assert "(../" not in entry.text, reason


def test_a_reason_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "jobuserunknown") == 0
    out = capsys.readouterr().out
    assert out.startswith("JobUserUnknown\n")
    assert "Do: " in out


def test_all_reasons_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain") == 0
    assert capsys.readouterr().out.split() == sorted(entries())


def test_an_unknown_reason_suggests_what_is_alike() -> None:
    with pytest.raises(CliError, match=r"no reason 'MissingGrant' is known. Did you mean MissingGrants"):
        run("explain", "MissingGrant")
    with pytest.raises(CliError, match="List all: kubectl ocore explain"):
        run("explain", "xqzw")


def test_the_commands_of_an_entry_can_be_copied() -> None:
    found = {reason: entry.commands for reason, entry in entries().items() if entry.commands}
    assert len(found) > 10
    for reason, commands in found.items():
        assert len(commands) == len(set(commands)), reason
        assert all(command.strip() == command and "`" not in command for command in commands), reason
    assert "kubectl ocore watch osnap/NAME" in found["Running"]
