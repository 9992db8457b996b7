"""Layout Plain: freezes the whole folder around the export of the database, and stores it."""

from collections.abc import Sequence

from ocore_mover.filestore.layout import Capture, CaptureOptions, Copied
from ocore_mover.filestore.plain.base import PlainBase
from ocore_mover.filestore.plain.copy import store_plain
from ocore_mover.filestore.plain.freeze import Frozen
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store


class PlainCapture(Capture):
    """A frozen folder. Links do not protect the content of a file that the application changes in place."""

    def __init__(self, frozen: Frozen, options: CaptureOptions, base: PlainBase | None = None) -> None:
        self._frozen = frozen
        self._options = options
        self._base = base

    @property
    def doubts(self) -> Sequence[str]:
        """As :attr:`.Frozen.doubts`."""
        doubts = self._frozen.doubts
        return [*doubts.gone, *doubts.replaced, *doubts.unseen]

    def approach(self) -> None:
        """As :meth:`.Frozen.approach`."""
        self._frozen.approach()

    def confirm(self) -> bool:
        """As :meth:`.Frozen.confirm`."""
        return self._frozen.confirm()

    def complete(self) -> None:
        """As :meth:`.Frozen.extend`."""
        self._frozen.extend()

    def copy(self, store: Store, prefix: str, counter: Counter, *, jobs: int) -> Copied:
        """As :func:`.plain.copy.store_plain`."""
        artifact, warnings = store_plain(
            store,
            prefix,
            self._frozen,
            counter,
            consistency=self._options.consistency,
            quiesced=self._options.quiesced,
            jobs=jobs,
            base=self._base,
        )
        return Copied(
            artifact, warnings=warnings, incomplete=tuple(self._frozen.unkept.lost), live=not self._frozen.linked
        )
