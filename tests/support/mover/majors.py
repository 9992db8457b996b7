"""Servers of the supported majors, and the grants that a probe asks for."""

import re
from collections.abc import Callable

from support.mover.postgres_majors import Server
from support.mover.rollback import Shell
from support.mover.site import Site

Servers = Callable[[int], Server]


def findings(shell: Shell) -> list[str]:
    """Messages of what keeps an environment from RollbackReady."""
    payload = shell.ok("probe").result["payload"]
    assert payload["blocking"] == []
    return [finding["message"] for finding in payload["rollback"]]


def run_the_statements(site: Site, messages: list[str]) -> int:
    """Runs the grants in the messages, as a database's administrator who reads them does and knows the roles. Returns
    how many."""
    names = {"<owner>": site.role.name, "<application>": site.role.name, "<administrator>": f"admin-{site.live}"}
    statements = [text for message in messages for text in re.findall(r"(?:GRANT|ALTER ROLE) [^;]*;", message)]
    for message in messages:
        for role, options in re.findall(
            r"objects to role (\S+): make it a member of that role( WITH [A-Z, ]+)?", message
        ):
            statements.append(f'GRANT "{role}" TO <administrator>{options.rstrip(", ")};')
    for statement in statements:
        for placeholder, name in names.items():
            statement = statement.replace(placeholder, f'"{name}"')
        site.server.execute(statement)
    return len(statements)
