"""``extract``: some files or tables of a snapshot, into the store or beside the filestore. Only index and needed frames
are read, of a dump ``toc.dat`` and the rows of these tables."""

from ocore_crds import conditions, failpoints, naming
from ocore_crds.commands.extract import ExtractRequest, ExtractResult
from ocore_crds.reports.base import Step
from ocore_crds.reports.extracted import Extracted, ExtractedFile
from ocore_crds.stored.manifest import FilestoreArtifact, Manifest
from ocore_mover import encryption, manifests
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import MoverError
from ocore_mover.filestore import layouts, selection
from ocore_mover.filestore.archive import Archive
from ocore_mover.filestore.layout import Layout
from ocore_mover.filestore.new_folder import Beside
from ocore_mover.filestore.selection import Selected
from ocore_mover.filestore.unpack import PackReader
from ocore_mover.store.interface import Store

#: Lost attachments that the status names.
_NAMED = 3


class _Extraction:
    """One run of the command."""

    def __init__(self, runtime: Runtime, request: ExtractRequest, store: Store) -> None:
        self._request = request
        self._counter = runtime.counter(Step.EXTRACT)
        guarded = runtime.guarded(store)
        stored = manifests.read(guarded, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256)
        opened = encryption.opened(guarded, stored, request.identity)
        self._store, self._results, self._manifest = opened.store, opened.results, opened.manifest
        self._artifact = _filestore(self._manifest, request.snapshot_id)
        #: Bytes of the dump that were read.
        self._dump_read = 0
        self._layout: Layout = layouts.of(self._artifact.layout)

    def run(self) -> ExtractResult:
        request = self._request
        if request.listing is not None:
            return ExtractResult(extracted=self._list(request.listing))
        folders = opening.folders(request.filestore, request.environment_id)
        beside = (
            Beside(folders, request.folder, request.extract_id)
            if folders is not None and request.folder is not None
            else None
        )
        made = beside.made() if beside is not None else None
        if made is not None:  # by an attempt whose report was lost
            return ExtractResult(extracted=made)
        found = self._selected()
        self._counter.bytes_total, self._counter.files_total = found.size, found.files
        with PackReader(self._store, self._layout.algorithm) as reader:
            if beside is not None:
                extracted = self._into_claim(beside, found, reader)
            else:
                extracted = self._into_store(found, reader)
        self._counter.finish()
        shown = (
            ExtractedFile(name=e.name.encode(errors="replace").decode(), bytes=e.size, digest=e.digest)
            for e in found.shown()
        )
        return ExtractResult(extracted=extracted, checked=tuple(shown))

    def _selected(self) -> Selected:
        request, dump = self._request, self._manifest.database
        if request.model is None or request.record is None:
            return selection.select(self._store, self._artifact, self._layout.parse, request.paths)
        if dump is None or not self._layout.names_in_database:
            raise MoverError(
                conditions.FILES_NOT_FOUND,
                "the snapshot has no database that names its files (layout Odoo). Name the files in spec.files.",
            )
        from ocore_mover.database import attachments  # the models and clients of a database: only for this

        wanted = attachments.Wanted(request.model, request.record, request.name)
        named = attachments.find(self._store, dump, wanted)
        self._dump_read = named.bytes_read
        found = selection.select(self._store, self._artifact, self._layout.parse, tuple(named.names), some=True)
        return found.renamed(named.names)

    def _list(self, folder: str) -> Extracted:
        lines, names, size = selection.listing(self._store, self._artifact, self._layout.parse, folder)
        with self._results.writer(self._key("listing.jsonl")) as writer:
            writer.write(b"".join(lines))
            stored = writer.commit()
        self._counter.finish()
        read = self._artifact.index.size
        return Extracted(
            files=names, bytes=size, bytes_read=read, key=stored.key, size=stored.size, sha256=stored.sha256
        )

    def _key(self, name: str) -> str:
        return naming.extract_prefix(self._request.environment_id, self._request.extract_id) + name

    def _result(self, found: Selected, reader: PackReader) -> Extracted:
        packs = reader.packs_read
        return Extracted(
            files=found.files,
            bytes=found.size,
            bytes_read=self._dump_read + self._artifact.index.size + packs.bytes_in_part + packs.bytes_whole,
            algorithm=self._layout.algorithm,
            missing=len(found.missing),
            missing_names=found.missing[:_NAMED],
        )

    def _into_claim(self, beside: Beside, found: Selected, reader: PackReader) -> Extracted:
        with beside.writing(found.size) as folder:
            for entry, pieces in found.contents(reader):
                folder.file(entry, pieces)
                self._counter.add(bytes_=entry.size, files=1)
            for entry in found.others:
                folder.other(entry)
            result = self._result(found, reader).model_copy(update={"folder": self._request.folder})
            failpoints.hit("extract-written")
            folder.publish(result)
        return result

    def _into_store(self, found: Selected, reader: PackReader) -> Extracted:
        with self._results.writer(self._key("files.tar")) as writer:
            archive = Archive(writer, self._counter)
            for entry, pieces in found.contents(reader):
                archive.file(entry, pieces)
            for entry in found.others:
                archive.other(entry)
            archive.end()
            failpoints.hit("extract-written")
            stored = writer.commit()
        update = {"key": stored.key, "size": stored.size, "sha256": stored.sha256}
        return self._result(found, reader).model_copy(update=update)


def _filestore(manifest: Manifest, snapshot_id: str) -> FilestoreArtifact:
    if manifest.filestore is None:
        raise MoverError(
            conditions.FILES_NOT_FOUND, f"snapshot {snapshot_id} has no filestore. Choose another snapshot."
        )
    return manifest.filestore


def execute(runtime: Runtime, request: ExtractRequest) -> ExtractResult:
    """As :class:`_Extraction`. Raises MoverError FilesNotFound, TablesNotFound, RowFilterFailed, TargetRefused,
    NoSpace, Corrupt, StoreError."""
    with runtime.step(Step.EXTRACT):
        if request.tables or request.list_tables:
            from ocore_mover.commands import extract_tables  # the client of a database: only for this

            return extract_tables.run(runtime, request, opening.store(request.store))
        return _Extraction(runtime, request, opening.store(request.store)).run()
