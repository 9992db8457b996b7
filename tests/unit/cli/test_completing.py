"""``kubectl_complete-ocore``: what kubectl's completion asks of a plugin."""

import os
import subprocess

import pytest

from ocore_cli.completing import proposals
from support.cluster.cluster import REPOSITORY


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sna"], ["snapshot"]),
        (["get", "osnap", "-o", "na"], ["name"]),
        (["snapshot", "--by"], ["--by-policy"]),
        (["pin", "--la"], ["--label"]),
        (["snapshot", "--none"], []),
    ],
)
def test_commands_options_and_choices_are_proposed(words: list[str], wanted: list[str]) -> None:
    assert [line.partition("\t")[0] for line in proposals(words)] == wanted


def test_an_empty_word_proposes_every_command_with_its_help() -> None:
    found = dict(line.split("\t", 1) for line in proposals([""]))
    assert {"snapshot", "rollback", "doctor", "init", "get"} <= set(found)
    assert "list" not in found  # hidden: kubectl has no such word
    assert all(found.values())


def test_the_program_ends_as_kubectl_wants_it() -> None:
    """The last line is cobra's directive: without it kubectl proposes nothing."""
    env = {**os.environ, "PATH": f"{REPOSITORY}/cli:{os.environ['PATH']}"}
    done = subprocess.run(
        ["kubectl_complete-ocore", "doc"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    first, last = done.stdout.splitlines()
    assert first.startswith("doctor\t")
    assert last == ":4"
