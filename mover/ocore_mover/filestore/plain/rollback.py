"""Layout Plain: a rollback stages a folder beside the live one, and switches by renames."""

from pathlib import Path

from ocore_crds import conditions
from ocore_crds.commands.parts import CleanupPart
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError
from ocore_mover.filestore.layout import Kept, Names, Position
from ocore_mover.filestore.plain import switch
from ocore_mover.filestore.plain.restore import stage_plain
from ocore_mover.filestore.unpack import Restored
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store


class PlainKept(Kept):
    """The staged and the previous folder of one rollback. Restored is beside the live folder, which is kept as a whole:
    no file of it needs protection, and the application collects nothing in a folder that is removed."""

    def restore(self, store: Store, artifact: FilestoreArtifact, counter: Counter, *, jobs: int) -> Restored:
        """As :func:`.plain.restore.stage_plain`. Raises MoverError SwitchFailed where the switch has begun."""
        switch.check_not_begun(self._folders, self._rollback_id)
        return stage_plain(store, artifact, self._folders, self._rollback_id, counter, jobs=jobs)

    def check_restored(self, names: Names, artifact: FilestoreArtifact, scratch: Path) -> int:
        """Only the application knows its files' names."""
        del names, artifact, scratch
        return 0

    def position(self) -> Position:
        """As :func:`.switch.position`."""
        return switch.position(self._folders, self._rollback_id)

    def check_kept(self) -> None:
        """Raises MoverError PreviousGone where the previous folder does not exist."""
        if self.position() == "Nothing":
            raise MoverError(
                conditions.PREVIOUS_GONE,
                f"nothing to undo to: the folder that rollback {self._rollback_id} kept does not exist any more, and"
                " nothing was changed; create a Rollback to a snapshot instead",
            )

    def prepare(self, restored_names: Names) -> None:
        """Raises MoverError SwitchFailed where the staged folder does not exist."""
        del restored_names
        if self.position() != "Old":
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"the restored folder {self._folders.stage(self._rollback_id)} does not exist; run `restore` again",
            )

    def switch(self) -> None:
        """As :func:`.switch.switch`."""
        switch.switch(self._folders, self._rollback_id)

    def switch_back(self) -> None:
        """As :func:`.switch.switch_back`."""
        switch.switch_back(self._folders, self._rollback_id)

    @property
    def set_aside(self) -> tuple[str, ...]:
        """As :func:`.switch.set_aside`."""
        return switch.set_aside(self._folders, self._rollback_id)

    def remove(self, part: CleanupPart) -> Path | None:
        """Removes the previous or the staged folder."""
        folders, rollback_id = self._folders, self._rollback_id
        if part == "previous":
            return folders.previous(rollback_id) if switch.remove_previous(folders, rollback_id) else None
        return folders.stage(rollback_id) if switch.remove_stage(folders, rollback_id) else None
