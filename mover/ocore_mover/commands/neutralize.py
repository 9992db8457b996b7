"""``neutralize``: the restored copy cannot act on the world of the environment that it was taken of. Runs between
``restore`` and ``switch``.

The copy's mark is `pending` until every assertion held. ``switch`` refuses such a copy, also if a person runs it.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ocore_crds import conditions, failpoints
from ocore_crds.commands.neutralize import NeutralizeRequest, NeutralizeResult
from ocore_crds.reports.base import Step
from ocore_crds.stored.manifest import Evidence
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.database import copy_access, position
from ocore_mover.database.connect import Connection, connect_maintenance, set_timeouts, translating
from ocore_mover.database.copy_access import CopyAccess, application_search_path
from ocore_mover.database.neutralize import isolation, odoo, scripts
from ocore_mover.database.neutralize.hand_over import HandOver
from ocore_mover.database.position import Names, Neutralization
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

APPLICATION = "ocore-neutralize"
#: Sessions of the application's command beside our own.
_SESSIONS = 8


@dataclass
class _Report:
    """What the evidence says."""

    required: list[str] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def evidence(self) -> Evidence:
        return Evidence(required=tuple(self.required), proven=tuple(self.proven), warnings=tuple(self.warnings))


class NeutralizeRun:
    """One run of the command. It can be repeated: what a killed run left is removed first."""

    def __init__(self, runtime: Runtime, request: NeutralizeRequest) -> None:
        self._runtime = runtime
        self._token = runtime.token
        self._request = request
        self._server = opening.server(request.database)
        self._hand_over = HandOver(Path(request.hand_over)) if request.hand_over is not None else None
        self._names = Names(self._server.live, request.rollback_id)
        self._report = _Report()

    def run(self) -> NeutralizeResult:
        """Neutralises the copy, checks it and marks it.

        Raises MoverError SwitchFailed (no checked copy, or it is live already), CannotNeutralize, IsolationUnproven,
        NeutralizeFailed, AssertionFailed. The copy is closed afterwards, and not marked unless every assertion held.
        """
        failpoints.hit("neutralize-start")
        try:
            return self._run()
        finally:
            if self._hand_over is not None:
                self._hand_over.end()

    def _run(self) -> NeutralizeResult:
        request = self._request
        with self._runtime.step(Step.NEUTRALIZE):
            owner = self._begin()
            if self._hand_over is not None:
                self._hand_over.clear()
                self._check_isolation()
            with self._opened(owner) as access:
                failpoints.hit("neutralize-opened")
                self._change(access)
            failpoints.hit("neutralize-applied")
            # Another role: whatever had the first one's password cannot change the copy any more.
            with self._opened(owner) as access:
                self._check(access)
            failpoints.hit("neutralize-asserted")
            self._mark("neutralized" if request.neutralizes else "identity")
        failpoints.hit("neutralize-marked")
        return NeutralizeResult(neutralized=request.neutralizes, evidence=self._report.evidence())

    def _opened(self, owner: str) -> AbstractContextManager[CopyAccess]:
        return copy_access.opened(
            self._server, self._names, owner, self._token, jobs=_SESSIONS, capacity=self._request.capacity
        )

    def _begin(self) -> str:
        """Marks the copy as pending, whatever it was, and closes it. Returns the owner of its objects."""
        if self._hand_over is not None and self._server.admin is None:
            raise MoverError(
                conditions.CANNOT_NEUTRALIZE,
                "the application's image needs a temporary role, which only an administrator can create: set"
                " spec.database.adminSecretRef of the Environment, or spec.neutralize.sql",
            )
        with (
            translating(conditions.NEUTRALIZE_FAILED, "reading the databases' names"),
            connect_maintenance(self._server, application=APPLICATION, token=self._token) as connection,
        ):
            now = position.read(connection, self._names)
        if now.position == "New" or now.restored is None or not now.restored.mark.checked:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"nothing to neutralise: {self._names.restored} does not exist, is incomplete, or is the live database"
                f" already; run `restore` for rollback {self._names.rollback_id} first",
            )
        self._mark("pending")
        copy_access.evict(self._server, self._names, now.owner, self._token)
        return now.owner

    def _mark(self, state: Neutralization) -> None:
        with (
            translating(conditions.NEUTRALIZE_FAILED, f"marking {self._names.restored}"),
            connect_maintenance(self._server, application=APPLICATION, token=self._token) as connection,
        ):
            now = position.read(connection, self._names)
            if now.position == "New" or now.restored is None:
                raise MoverError(
                    conditions.SWITCH_FAILED,
                    f"{self._names.restored} is gone; run `restore` for rollback {self._names.rollback_id} first",
                )
            position.write_mark(connection, self._names.restored, replace(now.restored.mark, neutralize=state))

    def _check_isolation(self) -> None:
        request, report = self._request, self._report
        report.required.append("isolation: the pod reaches PostgreSQL only")
        try:
            addresses, outside = isolation.listeners(request.listeners), isolation.parsed(request.outside)
            report.proven.append(isolation.prove(addresses, outside, self._token))
        except MoverError as error:
            if request.isolation == "Require" or error.reason != conditions.ISOLATION_UNPROVEN:
                raise
            text = (
                f"{conditions.ISOLATION_UNPROVEN}: {error.message}. It was started all the same (isolation: BestEffort)"
            )
            report.warnings.append(text)
            log.warning("isolation is not proven", extra={"error": error.message})

    def _change(self, access: CopyAccess) -> None:
        """The application's command, then what is known of Odoo, then the scripts: each may rely on the one before, and
        the last one is the user's."""
        request, report = self._request, self._report
        path = application_search_path(self._server, access, self._token)
        if self._hand_over is not None:
            self._hand_over.run(access, path, self._token)
            report.proven.append("neutralised: the command of the application's image ended with exit code 0")
        if request.neutralizes:
            self._turn_off(access)
        if request.sql is not None:
            found = scripts.load(Path(request.sql))
            self._in_copy(access, path, lambda connection: scripts.apply(connection, found))
            report.proven.append(f"neutralised: {', '.join(name for name, _ in found)} ran in the copy")
        if request.own_identity:

            def give(connection: Connection) -> None:
                report.proven.extend(odoo.give_identity(connection, request.base_url))

            self._in_copy(access, path, give)

    def _turn_off(self, access: CopyAccess) -> None:
        changed: list[str] = []
        # As in `_check`: not the application's search path.
        self._in_copy(access, "pg_catalog", lambda connection: changed.extend(odoo.turn_off(connection)))
        if changed:
            self._report.proven.append(f"neutralised: the built-in statements turned off {', '.join(changed)}")

    def _check(self, access: CopyAccess) -> None:
        request, report = self._request, self._report
        if not request.neutralizes:
            return
        report.required.append(
            "neutralised: everything known of Odoo's schema is off, and every assertion returns no row"
        )
        asserted = odoo.Asserted([], [])

        def built_in(connection: Connection) -> None:
            found = odoo.check(connection, frozen_url=request.own_identity)
            asserted.proven.extend(found.proven)
            asserted.warnings.extend(found.warnings)

        # Not the application's search path: an operator of the dump must not decide what a comparison means.
        self._in_copy(access, "pg_catalog", built_in)
        if request.assertions is not None:
            own = scripts.load(Path(request.assertions))
            path = application_search_path(self._server, access, self._token)

            def checked(connection: Connection) -> None:
                asserted.proven.extend(scripts.check(connection, own))

            self._in_copy(access, path, checked)
        if not asserted.proven:
            raise odoo.failed(
                [
                    "nothing was checked: the database has none of Odoo's tables, and spec.neutralize.assertions is"
                    " not set"
                ]
            )
        report.proven.extend(asserted.proven)
        report.warnings.extend(asserted.warnings)

    def _in_copy(self, access: CopyAccess, search_path: str, work: Callable[[Connection], None]) -> None:
        """Runs in a session of its own with the rights of the database's owner."""
        with (
            translating(conditions.NEUTRALIZE_FAILED, f"working in {self._names.restored}"),
            access.connect(application=APPLICATION, token=self._token) as connection,
        ):
            set_timeouts(connection, statement="0", lock="60s")
            connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [search_path])
            try:
                with self._token.on_cancel(connection.cancel_safe):
                    work(connection)
            except MoverError:
                self._token.check()  # a statement that was cancelled
                raise


def execute(runtime: Runtime, request: NeutralizeRequest) -> NeutralizeResult:
    """As :meth:`NeutralizeRun.run`."""
    return NeutralizeRun(runtime, request).run()
