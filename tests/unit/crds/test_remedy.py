"""What an administrator is asked to run is chosen from a closed list, for any data (row 125)."""

import itertools
import re
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from ocore_crds.commands.probe import ProbeResult
from ocore_crds.resources.environment import remedy_of
from ocore_crds.rules import remedy
from ocore_crds.rules.remedy import Party, Remedy, Right
from ocore_crds.text.sentences import escaped, sentence, shown
from ocore_crds.text.shell import command

ALL = [
    Remedy(right=right, role=role)
    for right, role in itertools.product(Right, get_args(Party))
    if role in remedy._FORMS[right].parties
]
#: Every statement that can be shown, for servers before and after PostgreSQL 16, and for CloudNativePG.
SHOWN = {text for major in (0, 15, 17) for cluster in ("", "pg") for text in remedy.statements(ALL, major, cluster)}


def test_row_125_every_statement_waits_for_names_that_a_person_writes() -> None:
    """No SQL program accepts `<owner>`: a statement that was pasted as it is changes nothing."""
    assert SHOWN
    for text in SHOWN:
        assert re.search(r"<(administrator|application|owner|table)>", text), text
        assert '"' not in text


def test_row_125_no_right_of_a_superuser_is_on_the_list() -> None:
    for text in SHOWN:
        assert not re.search(r"SUPERUSER|REPLICATION|pg_(?!signal_backend)", text), text
    for text in remedy.statements([each for each in ALL if each.role == "Application"], 15):
        assert "CREATEROLE" not in text


@pytest.mark.parametrize(
    "forged",
    [
        {"right": "Superuser", "role": "Application"},
        {"right": "ALTER ROLE x SUPERUSER;", "role": "Application"},
        {"right": "CreateDatabases", "role": "postgres"},
        {"right": "CreateRoles", "role": "Application"},
        {"right": "CreateDatabases"},
    ],
)
def test_row_125_a_forged_result_names_no_other_right(forged: dict[str, Any]) -> None:
    finding = {"reason": "MissingGrants", "message": "m", "remedies": [forged]}
    with pytest.raises(ValidationError):
        ProbeResult.model_validate({"rollback": [finding]})


def test_row_125_text_beside_the_data_is_not_shown() -> None:
    more = {"right": "CreateDatabases", "role": "Application", "statement": "DROP DATABASE x;", "owner": "postgres"}
    assert remedy.statements([Remedy.model_validate(more)], 17) == ("ALTER ROLE <application> CREATEDB;",)


def environment(status: dict[str, Any], **database: Any) -> dict[str, Any]:
    spec = {"type": "production", "storeRef": {"name": "s"}, "database": database or {"secretRef": {"name": "db"}}}
    return {"spec": spec, "status": {"probe": {"time": "2026-01-01T00:00:00Z", "generation": 1, **status}}}


def test_the_legend_names_the_secrets_of_the_spec() -> None:
    found = {"serverMajor": 17, "remedies": [{"right": "JoinOwner", "role": "Administrator"}]}
    statements, legend = remedy_of(
        environment(found, secretRef={"name": "db"}, adminSecretRef={"name": "admin"}),
    )
    assert statements == ("GRANT <owner> TO <administrator> WITH ADMIN TRUE, INHERIT TRUE, SET TRUE;",)
    assert "<administrator>: the user in Secret admin." in legend
    assert "<owner>: the owner of the live database, never a superuser." in legend
    assert "<application>" not in legend
    assert remedy_of(environment({})) == ((), "")


def test_before_postgresql_16_a_membership_has_no_options() -> None:
    assert remedy.statements([Remedy(right=Right.JOIN_OWNER, role="Application")], 15) == (
        "GRANT <owner> TO <application>;",
    )


def test_cloudnativepg_gets_entries_for_what_it_manages() -> None:
    missing = [Remedy(right=Right.CREATE_DATABASES, role=role) for role in get_args(Party)]
    found = {"remedies": [each.wire() for each in (*missing, Remedy(right=Right.READ_TABLES, role="Application"))]}
    statements, legend = remedy_of(environment(found, cnpg={"cluster": "pg"}))
    assert statements == (
        "ALTER ROLE <administrator> CREATEDB;",
        "In Cluster pg, spec.managed.roles, the entry of <application>: createdb: true",
        "GRANT SELECT ON <table> TO <application>;",
    )
    assert "Secret pg-app" in legend
    assert "CloudNativePG takes away what it lacks." in legend


@pytest.mark.parametrize(
    ("name", "as_shown"),
    [
        ("shop", "shop"),
        ("größe_1.t-x", "größe_1.t-x"),
        ('ALTER ROLE "x" SUPERUSER;', "'ALTER ROLE \"x\" SUPERUSER;'"),
        ("a'; b\nfix: c", "'a\\'; b\\nfix: c'"),
        ("", "''"),
        ("a\u202eb", "'a\\u202eb'"),
        ("x" * 200, f"'{'x' * 118} …'"),
    ],
)
def test_row_125_a_name_reads_as_no_part_of_a_message(name: str, as_shown: str) -> None:
    assert shown(name) == as_shown


def test_row_125_a_message_has_nothing_that_a_reader_cannot_see() -> None:
    hostile = "a\x1b[2J\u202e\u200b\ufeff\U000e0041b"
    assert escaped(hostile) == r"a\x1b[2J\u202e\u200b\ufeff\U000e0041b"
    assert sentence(hostile) == rf"{escaped(hostile)}."


def test_row_125_a_value_in_a_command_line_is_one_word() -> None:
    assert command("kubectl", "-n", "shop", "edit", "x; rm -rf ~", "a'b") == (
        """kubectl -n shop edit 'x; rm -rf ~' 'a'"'"'b'"""
    )
