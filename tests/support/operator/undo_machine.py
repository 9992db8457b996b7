"""Hypothesis drives the model of an undo: all that may go wrong for a rollback, and the rollback that is undone beside
it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ocore_operator.rollback.transitions import change, stamp
from support.operator.rollback_machine import RollbackMachine
from support.operator.undo_model import WINDOW, UndoModel


class UndoMachine(RollbackMachine):
    """An undo under all faults at once."""

    model_type = UndoModel
    model: UndoModel

    @rule(count=st.integers(1, 6))
    def the_undone_rollback_works(self, count: int) -> None:
        for _ in range(count):
            self.model.undone_acts()
            self.model.check()

    @precondition(lambda self: not self.model.undone_deleting)
    @rule()
    def the_undone_rollback_is_deleted(self) -> None:
        self.disturb()
        self.model.undone_deleting = True

    @precondition(lambda self: self.model.undone.undone_by is None)
    @rule()
    def the_window_of_the_undone_rollback_ends(self) -> None:
        self.disturb()
        model = self.model
        entry_until = model.entry.keep_until if model.entry is not None else None
        if model.undone.undo_until is not None and not entry_until and model.returned_at is None:
            model.undone = change(model.undone, undo_until=stamp(model.now()))

    @precondition(lambda self: self.model.entry is not None and self.model.entry.state == "Undone")
    @rule()
    def a_person_switches_by_hand(self) -> None:
        """While it belongs to the undo. A switch by hand of the other one is in the model of a rollback."""
        model, data = self.model, self.model.data
        runs = any(j.alive and not j.ended and j.command != "inspect-only" for j in model.jobs.values())
        whole = (data.previous and data.kept_folder) if data.live == "new" else (data.restored and data.staged)
        if model.server_up and not runs and whole and model.exists and model.status.stage == "Ended":
            model.switch_by_hand()

    def teardown(self) -> None:
        """The undo ends as a rollback does; then the other one, and nothing is left."""
        model = self.model
        model.undone_runs = True
        super().teardown()
        if model.holder == "snapshot other":
            model.holder = None
        since = model.time
        while not self._is_over():
            model.advance(120, 4)
            if model.exists:
                self.operator.work()
            assert model.time - since < 4 * WINDOW + 3 * model.spec.undo_window_seconds + 20000, model.undone
        if not model.environment or "Unknown" in (model.status.residue, model.undone.residue):
            return  # reported as not removed
        data = model.data
        assert not any((data.restored, data.previous, data.staged, data.kept_folder)), data
        assert model.drops == 1, "what was kept was not dropped exactly once"
        assert data.accepting or model.stale_starts
        assert data.live == data.folder

    def _is_over(self) -> bool:
        model = self.model
        return model.undone.residue != "Pending" and (not model.exists or model.status.residue != "Pending")
