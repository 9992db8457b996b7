"""The world of an undo: as :class:`Model`, from the point of view of the undo, beside a finished rollback that has its
own reconciles.

`old` is what the finished rollback has switched to, `new` what it has kept: for the finished rollback it is the other
way round. Its Jobs are atomic here; what can kill them is in the model of a rollback.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import CleanupResult, Failure, Payload, SwitchResult
from ocore_crds.resources.environment import UndoneRollback
from ocore_crds.resources.rollback import ImageStatus, RollbackSpec, RollbackStatus, RollbackTarget
from ocore_crds.resources.snapshot import SavedContainer, SavedImage, SavedWorkload
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Record, SetFinalizer, SetLock
from ocore_operator.rollback import plan
from ocore_operator.rollback import world as v
from ocore_operator.rollback.plan_undo import opposite
from ocore_operator.rollback.transitions import change, stamp
from support.operator.rollback_model import ENVIRONMENT_ID, RUNNING, START, Data, Model, Seen, SimConflict, SimJob

#: The rollback that is undone.
UNDONE_ID = "11112222-0000-4000-8000-000000000002"
UNDO_NAME = "u1"
WINDOW = 3000
#: What the undone rollback has replaced, where it restored images.
BEFORE = SavedImage(
    containers=(
        SavedContainer(name="shop", image="registry/shop:0"),
        SavedContainer(name="migrate", init=True, image="registry/shop:0"),
    ),
    template_commit="c0",
)
TARGET = RollbackTarget(database_secret_name="db", claim_name="files", path="shop", layout="Plain")


def finished(replicas: tuple[int, ...] = (2, 1), *, window: int = WINDOW, **changes: object) -> RollbackStatus:
    """A rollback that became Complete at START."""
    status = RollbackStatus(
        id=UNDONE_ID,
        stage="Ended",
        stage_since=stamp(START),
        phase="Complete",
        position="New",
        residue="Pending",
        environment_name="shop",
        environment_id=ENVIRONMENT_ID,
        snapshot_name="s1",
        snapshot_id="50000000-0000-4000-8000-000000000001",
        manifest_sha256="a" * 64,
        target=TARGET,
        workloads=tuple(SavedWorkload(kind="Deployment", name=f"w{i}", replicas=n) for i, n in enumerate(replicas)),
        live_database="shop",
        restored_database="shop_rb_11112222",
        previous_database="shop_prev_11112222",
        switched_at=stamp(START - timedelta(seconds=60)),
        completed_at=stamp(START),
        undo_until=stamp(START + timedelta(seconds=window)),
    )
    return change(status, **changes)


class UndoModel(Model):
    """An undo of a finished rollback."""

    def __init__(
        self,
        *,
        replicas: tuple[int, ...] = (2, 1),
        new_is_healthy: bool = True,
        old_is_healthy: bool = True,
        undo_window: int = 600,
        timeout: int = 1200,
        sidecars: bool = False,
        missing: bool = False,
        other: bool = False,
        neutralize: bool = False,
        safety: bool = False,
        restore_image: Literal["Never", "Always", "WaitForGit"] = "Never",
        probed: bool = False,
    ) -> None:
        super().__init__(
            replicas=replicas,
            new_is_healthy=new_is_healthy,
            old_is_healthy=old_is_healthy,
            undo_window=undo_window,
            timeout=timeout,
            sidecars=sidecars,
        )
        asked = {**self.spec.wire(), "undo": {"rollbackRef": {"name": "r1"}}}
        self.spec = RollbackSpec.model_validate({k: x for k, x in asked.items() if k != "snapshotRef"})
        self.data = Data(restored=True, staged=True)
        self.undone = finished(replicas)
        #: The undone rollback has restored images.
        self.images = restore_image == "Always"
        if self.images:
            saved = tuple(w.model_copy(update={"image": BEFORE}) for w in self.undone.workloads)
            image = ImageStatus(mode="Always", reference=RUNNING, commit_sha="c2")
            self.undone = change(self.undone, workloads=saved, image=image)
        self.undone_spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}, "undoWindowSeconds": WINDOW})
        self.undone_jobs: list[v.JobView] = []
        self.undone_deleting = False
        self.undone_finalizer = True
        #: The finished rollback reconciles whenever time passes.
        self.undone_runs = False
        self.environment_version = 1
        self.entry: UndoneRollback | None = None
        self.returned_at: float | None = None
        self.drops = 0

    # --- time -------------------------------------------------------------------------------------------------------
    def advance(self, seconds: float, steps: int = 1) -> None:
        """As of a rollback; where `undone_runs`, the other one reconciles, too."""
        super().advance(seconds, steps)
        for _ in range(30 if self.undone_runs else 0):
            if not self.undone_acts():
                break

    def restored_image(self) -> tuple[str, str]:
        """Those from before the undone rollback, where it had restored others."""
        return ("registry/shop:0", "c0") if self.images else (RUNNING, "c2")

    # --- of the undo -------------------------------------------------------------------------------------------------
    def _owns(self) -> bool:
        return self.entry is not None and self.entry.state != "Returned"

    def _dropped(self, *kept: bool) -> None:
        self.drops += any(kept)
        assert self.drops <= 1, "something was dropped twice"

    def _rename(self, to: str) -> None:  # type: ignore[override]
        assert self._owns() or self.stale_starts or not self.environment, (
            "switched before it had taken over what is kept"
        )
        super()._rename(to)  # type: ignore[arg-type]

    def _cleanup_restored(self, job: SimJob) -> Iterator[None]:
        return self._counted(super()._cleanup_restored(job))

    def _cleanup_previous(self, job: SimJob) -> Iterator[None]:
        return self._counted(super()._cleanup_previous(job))

    def _counted(self, program: Iterator[None]) -> Iterator[None]:
        """Counts a drop in the step that drops. A program may be killed after it; its next run then finds nothing to
        drop."""
        kept = self.data.restored or self.data.previous
        for _ in program:
            self._dropped_by_undo(kept and not (self.data.restored or self.data.previous))
            yield
            kept = self.data.restored or self.data.previous
        self._dropped_by_undo(kept and not (self.data.restored or self.data.previous))

    def _dropped_by_undo(self, dropped: bool) -> None:
        assert not dropped or self._owns() or self.stale_starts, (
            "the undo has dropped what belongs to the other rollback"
        )
        self._dropped(dropped)

    def see(self, watched_since: float) -> Seen:
        """With the version of the Environment."""
        seen = super().see(watched_since)
        return replace(seen, versions={**seen.versions, "environment": self.environment_version})

    def _world(self) -> v.World:
        view = v.UndoneView(name="r1", id=UNDONE_ID, status=self.undone, deleting=self.undone_deleting)
        known = self.entry is not None and self.environment
        return replace(
            super()._world(),
            snapshot=None,
            undone=view if self.undone_finalizer else None,
            undo_state=self.entry.state if self.entry is not None and known else None,
        )

    def _bookkeeping(self, seen: Seen, effect: v.Effect) -> None:
        if (isinstance(effect, (v.TakeOver, v.SettleUndo)) or effect == SetLock(held=True)) and (
            seen.versions["environment"] != self.environment_version or not self.environment
        ):
            raise SimConflict
        if isinstance(effect, v.TakeOver):
            assert self.holder == "ours", "took over without the operation lock"
            assert self.data.restored, "took over what is gone"
            self._enter("Running")
        elif isinstance(effect, v.SettleUndo):
            assert (
                effect.state == ("Undone" if self.data.position == "New" else "Returned") or self.by_hand_at is not None
            )
            if effect.state == "Returned":
                self.returned_at = self.time if self.switches else None
            self.executed = self.executed or effect.state == "Undone"
            self._enter(effect.state, effect.keep_until)
        else:
            if isinstance(effect, (SetLock, v.RecordExecuted)):
                self.environment_version += 1
            super()._bookkeeping(seen, effect)

    def _enter(self, state: str, keep_until: str | None = None) -> None:
        self.environment_version += 1
        self.entry = UndoneRollback(
            id=UNDONE_ID,
            by_name=UNDO_NAME,
            by_id=self.status.id or "",
            state=state,
            keep_until=keep_until,  # type: ignore[arg-type]
        )

    def check_settled(self) -> None:
        """When no cleanup of the undo remains: what is left belongs to the other rollback."""
        assert self.holder != "ours"
        assert not self.finalizer
        assert self.entry is None or self.entry.state != "Running" or not self.environment, "never settled"
        if self._owns() and self.environment and self.status.residue == "None":
            assert self.drops == 1

    # --- of the rollback that is undone ------------------------------------------------------------------------------
    def undone_acts(self) -> bool:
        """One action of it, as it reads the world now. Returns whether to decide again at once."""
        if not self.undone_finalizer:
            return False
        action = plan.decide(self.undone, self.undone_spec, self._undone_world(), UNDONE_ID, self.now())
        if isinstance(action, Record):
            self.undone = action.status
            return True
        return isinstance(action, v.Do) and self._undone_does(action.effect)

    def _undone_world(self) -> v.World:
        environment = super()._world().environment
        entry = self.entry if self.environment else None
        if entry is not None and entry.state == "Running" and not self.exists:
            entry = None
        lock = v.OperationLock("Free")
        if self.holder is not None:
            lock = v.OperationLock("Ours" if self.holder == "undone" else "Other", self.holder, START)
        return v.World(
            created=START,
            environment=environment,
            executed=True,
            snapshot=None,
            environment_name="shop",
            deleting=self.undone_deleting,
            finalizer=True,
            lock=lock,
            jobs=tuple(self.undone_jobs),
            taken_over=v.TakenOver(entry.state, UNDO_NAME, entry.keep_until) if entry is not None else None,
            watched_since=START,
        )

    def _undone_does(self, effect: v.Effect) -> bool:
        if effect == SetLock(held=True):
            if self.holder is not None:
                return False
            self.holder, self.locked_since = "undone", self.time
            self.environment_version += 1
        elif effect == SetLock(held=False):
            self.holder = None
            self.environment_version += 1
        elif effect == SetFinalizer(present=False):
            self.undone_finalizer = not self.undone_deleting
            return False
        else:
            assert isinstance(effect, v.StartJob), effect
            self._undone_job(effect)
        return True

    def _undone_job(self, effect: v.StartJob) -> None:
        payload: Payload | None = None
        failure: Failure | None = None
        position = opposite(self.data.position)
        if not self.server_up:
            failure = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer", retryable=True)
        elif effect.command == "inspect-only":
            payload = SwitchResult(position=position, live_database="shop")
        elif effect.command != ("cleanup-previous" if position == "New" else "cleanup-restored"):
            failure = Failure(reason=c.SWITCH_FAILED, message=f"the position is {position}")
        else:
            self._undone_cleans_up()
            payload = CleanupResult()
        self.undone_jobs.append(
            v.JobView(
                effect.kind, effect.attempt, "x", ended=True, payload=payload, failure=failure, ended_at=self.now()
            )
        )

    def _undone_cleans_up(self) -> None:
        assert self.holder == "undone", "cleaned up without the operation lock"
        running = self.entry is not None and self.entry.state == "Running" and self.exists
        undone = self.entry is not None and self.entry.state == "Undone"
        assert not running, "the rollback has dropped what an undo has taken over"
        assert not undone, "the rollback has dropped what belongs to its undo"
        assert not self._writers() or self.stale_starts, "dropped while the undo may switch"
        if not self.undone_deleting:
            assert self.undone.undo_until is not None
            assert self.now() >= parse(self.undone.undo_until), "dropped inside the undo window"
            if self.returned_at is not None:
                assert self.time - self.returned_at >= self.spec.undo_window_seconds - 1, (
                    "what was switched back is dropped too early"
                )
        self._dropped(self.data.restored, self.data.previous)
        self.data.restored = self.data.previous = self.data.staged = self.data.kept_folder = False
