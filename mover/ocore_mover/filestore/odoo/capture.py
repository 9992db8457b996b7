"""Layout Odoo: freezes the files that the database names, around its export, and stores them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore.base import Reused, outgrown, outgrown_warning
from ocore_mover.filestore.layout import Capture, CaptureOptions, Copied
from ocore_mover.filestore.names import Missing, NameFile, SortedNames, name_files, spooled
from ocore_mover.filestore.odoo.base import OdooBase
from ocore_mover.filestore.odoo.copy import store_odoo
from ocore_mover.filestore.odoo.freeze import Freezing, Frozen
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store


@dataclass(frozen=True)
class _FrozenFilestore:
    """The filestore as it was when the database snapshot was exported."""

    files: Frozen
    named: int  # files that the database names
    warnings: tuple[str, ...]
    reused: Reused | None = None  # files that are in the base, and not in `files`


@dataclass(frozen=True)
class _Compared:
    """Names of the database beside those of the base."""

    new: NameFile
    known: SortedNames = ()  # in the base
    reused: Reused | None = None


class OdooCapture(Capture):
    """Freezes the files for the export: with a base only those that it does not have. Names go through scratch, so that
    memory does not grow with them. Garbage collection is paused around the export, and :meth:`finish` freezes
    everything."""

    def __init__(
        self, freezing: Freezing, stack: ExitStack, options: CaptureOptions, base: OdooBase | None = None
    ) -> None:
        """`stack` outlives the copy."""
        self._freezing = freezing
        self._stack = stack
        self._options = options
        self._base = base
        self._decided = base is None  # whether the base is used
        self._warnings: list[str] = []
        self._frozen: _FrozenFilestore | None = None
        self.freezer = self

    @property
    def linked(self) -> bool:
        """Whether files are protected by hard links."""
        return self._freezing.linked

    @property
    def protected(self) -> bool:
        """Files never change, and links keep them."""
        return self._frozen is not None and self._frozen.files.linked

    def collect(self, names: Iterable[str]) -> Callable[[], None]:
        """As :meth:`.freezer.Freezer.collect`."""
        with ExitStack() as files:
            found = files.enter_context(spooled(names, self._options.scratch))
            kept = files.pop_all()

        def link() -> None:
            with kept:
                self._freezing.link(self._compare(found.files, kept).new)

        return link

    def _compare(self, names: NameFile, stack: ExitStack) -> _Compared:
        """Compares the names with those of the base. The first call, which gets all of them, decides whether the base
        is used."""
        if self._base is None:
            return _Compared(names)
        new, known = stack.enter_context(name_files(self._options.scratch, 2))
        reused = self._base.split(names, new, known)
        if not self._decided:
            self._decided = True
            size = self._freezing.size(new)
            if outgrown(size, reused.size):
                self._warnings.append(outgrown_warning(size, reused.size))
                self._base = None
                return _Compared(names)
        return _Compared(new, known, reused)

    def finish(self, names: Iterable[str]) -> None:
        """As :meth:`.freezer.Freezer.finish`. Raises MoverError AttachmentsMissing where files are lost."""
        found = self._stack.enter_context(spooled(names, self._options.scratch))
        compared = self._compare(found.files, self._stack)
        files = self._freezing.finish(compared.new, named=len(found.files))
        lost, examples = len(files.missing) + found.invalid, [*files.missing[:3], *found.invalid_shown][:3]
        if lost and self._options.missing_files == "Fail":
            raise MoverError(
                conditions.ATTACHMENTS_MISSING,
                f"the database names {lost} files that the filestore does not have, for example {', '.join(examples)};"
                " restore them, delete the rows, or set missingFiles: Report to continue without them",
            )
        warnings = [*self._warnings, *_freeze_warnings(files, lost, examples)]
        gone = self._freezing.lost(compared.known) if compared.reused is not None else Missing()
        if gone.count:
            warnings.append(
                f"{gone.count} files that the database names are no longer in the live filestore; the snapshot has them"
                f" from its base, for example {', '.join(gone.names[:3])}"
            )
        self._frozen = _FrozenFilestore(files, len(found.files), tuple(warnings), compared.reused)

    def copy(self, store: Store, prefix: str, counter: Counter, *, jobs: int) -> Copied:
        """As :func:`.odoo.copy.store_odoo`."""
        frozen = self._frozen
        assert frozen is not None  # noqa: S101 - the export has called `finish`
        artifact = store_odoo(
            *(store, prefix, frozen.files, counter),
            jobs=jobs,
            reused=frozen.reused,
            report_damaged=self._options.missing_files == "Report",
        )
        unkept = frozen.files.unkept
        return Copied(
            artifact,
            warnings=(*frozen.warnings, *unkept.warnings),
            incomplete=tuple(unkept.lost),
            named=frozen.named,
        )


def _freeze_warnings(files: Frozen, lost: int, examples: Sequence[str]) -> Iterator[str]:
    if lost:
        yield f"{lost} files that the database names were lost already, for example {', '.join(examples)}"
    if files.absent:
        yield "the filestore's folder does not exist yet, and the database names no files"
    elif not files.linked:
        yield "the filestore has no hard links: its files were read in place"
