"""Streams one object into S3: threads upload parts while the next part is filled."""

import base64
import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import IO, Any, Literal, Self, TypeVar

from botocore.exceptions import ClientError

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.store.interface import compared
from ocore_mover.store.keys import checked
from ocore_mover.store.retries import Patience
from ocore_mover.store.s3_bucket import Bucket
from ocore_mover.store.s3_client import code_of, translated
from ocore_mover.store.s3_reader import read_range

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MIB = 1024 * 1024
#: (parts, bytes of each). S3 allows 10,000 parts of at most 5 GiB, and 5 TiB in all. A request costs boto3 about 5 ms
#: of processor time for any size. Objects up to 23 GiB have parts of 12 MiB; up to 210 GiB the parts fit in memory.
PART_SIZES = (
    (2000, 12 * MIB),
    (2000, 32 * MIB),
    (2000, 64 * MIB),
    (2000, 512 * MIB),
    (2000, 2048 * MIB),
)
#: Larger parts go to a temporary file (TMPDIR), so that memory does not grow with the object.
SPOOL_ABOVE = 64 * MIB
#: Bytes in memory that wait for an upload or are in one, for all writers of a store.
IN_FLIGHT_BYTES = 48 * MIB
#: The same for bytes in temporary files: an object of terabytes must not fill the disk while its store is slow. One
#: part is always allowed, and each writer fills another one at the same time.
SPOOLED_BYTES = 2048 * MIB
#: Larger parts use recycled buffers: fresh memory costs a page fault for each 4 KiB.
SMALL = MIB
#: Seconds that one part waits for space. A stuck upload fails long before, by the client's time-outs and retries.
ROOM_DEADLINE = 1800.0
#: Seconds between two checks of the command's token, where a part may take as long as the command.
CHECK_EVERY = 1.0
#: Seconds that an abort waits for running uploads. A cancelled Job has ten seconds in all.
ABORT_DEADLINE = 5.0


def part_size(number: int) -> int:
    """Bytes of the part with that number, from 1."""
    for count, size in PART_SIZES:
        if number <= count:
            return size
        number -= count
    raise StoreError(conditions.NO_SPACE, "an object cannot be larger than 5 TiB in S3")


#: Where a part's bytes wait for their upload.
Place = Literal["memory", "disk"]


class PartPool:
    """Threads for uploads and a budget of bytes, shared by all writers of a store."""

    def __init__(self, threads: int, budget: int = IN_FLIGHT_BYTES, spooled: int = SPOOLED_BYTES) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._room = threading.Condition()
        self._budgets = {"memory": budget, "disk": spooled}
        self._used = {"memory": 0, "disk": 0}
        self._spare: list[bytearray] = []

    def borrow(self, size: int) -> bytearray:
        """A buffer with undefined contents."""
        if size == PART_SIZES[0][1]:
            with self._room:
                if self._spare:
                    return self._spare.pop()
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Keeps a buffer of the usual size for the next part, within the budget."""
        size = PART_SIZES[0][1]
        with self._room:
            if len(buffer) == size and (len(self._spare) + 1) * size <= self._budgets["memory"]:
                self._spare.append(buffer)

    def submit(self, part: "_Part", upload: Callable[[], None], patience: Patience | None = None) -> "Future[None]":
        """Waits for space for the part's bytes in memory or on the disk, then runs `upload` in a thread."""
        where, size = part.place, part.size
        with self._room:
            while not self._room.wait_for(
                lambda: self._has_room(where, size), ROOM_DEADLINE if patience is None else CHECK_EVERY
            ):
                if patience is not None:
                    patience.check()
                    continue
                raise StoreError(
                    conditions.STORE_UNREACHABLE,
                    "uploads to the store make no progress. Check the store and the network.",
                    retryable=True,
                )
            self._used[where] += size
        future = self._executor.submit(upload)
        future.add_done_callback(lambda _: self._give_back(where, size))
        return future

    def _has_room(self, where: Place, size: int) -> bool:
        used = self._used[where]
        return used == 0 or used + size <= self._budgets[where]

    def _give_back(self, where: Place, size: int) -> None:
        with self._room:
            self._used[where] -= size
            self._room.notify_all()


class _Part:
    """The bytes of one part: in memory, or in a temporary file if large. Updates the digests of part and object."""

    def __init__(self, number: int, whole: "hashlib._Hash", pool: PartPool) -> None:
        self.number = number
        self.capacity = part_size(number)
        self.size = 0
        self._whole = whole
        self._digest = hashlib.sha256()
        self._pool = pool
        self._small = bytearray()
        self._buffer: bytearray | None = None
        self._file: IO[bytes] | None = tempfile.TemporaryFile() if self.capacity > SPOOL_ABOVE else None  # noqa: SIM115 - lives as long as the part

    def take(self, data: memoryview) -> int:
        """Takes the bytes that fit; returns their number."""
        data = data[: self.capacity - self.size]
        end = self.size + len(data)
        if self._file is not None:
            self._file.write(data)
            self._hash(data)
        elif end <= SMALL:
            self._small += data
        else:
            if self._buffer is None:
                self._buffer = self._pool.borrow(self.capacity)
                self._buffer[: self.size] = self._small
                self._small = bytearray()
            self._buffer[self.size : end] = data
        self.size = end
        return len(data)

    def finish(self) -> None:
        """Ends the part. Hashes memory in one call: small pieces would cost more than the hash itself."""
        if self._buffer is not None:
            with memoryview(self._buffer) as view:
                self._hash(view[: self.size])
        elif self._file is None:
            self._hash(self._small)

    def _hash(self, data: bytearray | memoryview) -> None:
        self._whole.update(data)
        if self.number == 1:
            self._digest = self._whole.copy()  # the same bytes: most objects have one part
        else:
            self._digest.update(data)

    @property
    def full(self) -> bool:
        return self.size == self.capacity

    @property
    def place(self) -> Place:
        """Where the bytes are."""
        return "memory" if self._file is None else "disk"

    def digest(self) -> bytes:
        return self._digest.digest()

    def body(self) -> Any:
        """The body for boto3, which accepts bytes or a file, but no slice of a buffer. Nothing is added afterwards."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        if self._buffer is None:
            return self._small
        del self._buffer[self.size :]  # the last part: give_back does not keep a shorter buffer
        return self._buffer

    def drop(self) -> None:
        """Frees memory and disk. The body is invalid afterwards."""
        if self._buffer is not None:
            self._pool.give_back(self._buffer)
        self._small, self._buffer = bytearray(), None
        if self._file is not None:
            self._file.close()


class S3Writer:
    """See :class:`~ocore_mover.store.interface.Writer`. Not for several threads at once."""

    def __init__(self, bucket: Bucket, parts: PartPool, key: str, patience: Patience | None = None) -> None:
        self._bucket = bucket
        self._parts = parts
        self._patience = patience
        self._key = checked(key)
        self._full_key = bucket.full_key(key)
        self._whole = hashlib.sha256()
        self._size = 0
        self._part = _Part(1, self._whole, parts)
        self._upload: str | None = None
        self._uploads: list[Future[None]] = []
        self._done: dict[int, dict[str, Any]] = {}
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends; passes full parts to the upload threads."""
        if self._closed:
            raise ValueError("the writer is closed")
        rest = memoryview(data).cast("B")
        while rest:
            if self._part.full:
                self._send_part()
            taken = self._part.take(rest)
            self._size += taken
            rest = rest[taken:]

    def commit(self) -> StoredObject:
        """Waits for the parts, completes the upload and compares the size. Reads back if the server checks nothing."""
        if self._closed:
            raise ValueError("the writer is closed")
        checks = self._repeated(lambda: self._bucket.server_checks(self._full_key))
        if self._upload is None:
            self._part.finish()
            self._repeated(lambda: self._bucket.put(self._full_key, self._part.body(), self._whole.digest()))
            trusted = checks
        else:
            self._send_part()
            self._await_parts()
            trusted = self._repeated(self._complete) and checks
        self._part.drop()
        self._closed = True
        stored = StoredObject(key=self._key, size=self._size, sha256=self._whole.hexdigest())
        self._repeated(lambda: self._compare(stored, trusted))
        return stored

    def _repeated(self, request: Callable[[], Result]) -> Result:
        return request() if self._patience is None else self._patience.run(request)

    def abort(self) -> None:
        """Discards the object. An unreachable store keeps the upload; `delete` aborts it later."""
        if self._closed:
            return
        self._closed = True
        for future in self._uploads:
            future.cancel()
        wait(self._uploads, timeout=ABORT_DEADLINE)  # a part that arrives after the abort would never be deleted
        self._part.drop()
        if self._upload is None:
            return
        try:
            with translated(f"abort {self._key}", self._bucket.url):
                self._bucket.abort_upload(self._full_key, self._upload)
        except MoverError as error:
            log.warning("an unfinished upload remains in the store", extra={"key": self._key, "error": error.message})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _send_part(self) -> None:
        """Passes the filled part to the upload threads and starts the next one."""
        for future in self._uploads:
            if future.done():
                future.result()
        if self._upload is None:
            self._upload = self._repeated(self._begin)
        part, upload = self._part, self._upload
        part.finish()
        self._uploads.append(self._parts.submit(part, lambda: self._send(part, upload), self._patience))
        self._part = _Part(part.number + 1, self._whole, self._parts)

    def _begin(self) -> str:
        self._bucket.server_checks(self._full_key)
        with translated(f"write {self._key}", self._bucket.url):
            return self._bucket.create_upload(self._full_key)

    def _send(self, part: _Part, upload: str) -> None:
        declared = base64.b64encode(part.digest()).decode()

        def send() -> str:
            if self._closed:
                raise StoreError(conditions.CANCELLED, f"the upload of {self._key} was discarded")
            with translated(f"write part {part.number} of {self._key}", self._bucket.url):
                return self._bucket.upload_part(self._full_key, upload, part.number, part.body, declared)

        try:
            etag = self._repeated(send)
        finally:
            part.drop()
        self._done[part.number] = {"PartNumber": part.number, "ETag": etag, "ChecksumSHA256": declared}

    def _await_parts(self) -> None:
        """Waits for all uploads; raises the first error."""
        for future in self._uploads:
            if self._patience is None:
                future.result(timeout=ROOM_DEADLINE)
                continue
            while not wait([future], timeout=CHECK_EVERY).done:
                self._patience.check()
            future.result()

    def _complete(self) -> bool:
        """Completes the upload. Returns False if the answer to an earlier attempt was lost: the object must be read
        back."""
        assert self._upload is not None  # noqa: S101 - for the type checker
        parts = [self._done[number] for number in sorted(self._done)]
        with translated(f"complete {self._key}", self._bucket.url):
            try:
                answer = self._bucket.client.complete_multipart_upload(
                    Bucket=self._bucket.bucket,
                    Key=self._full_key,
                    UploadId=self._upload,
                    MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
                )
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                return False
        self._bucket.note_written(self._full_key, answer)
        return True

    def _compare(self, stored: StoredObject, trusted: bool) -> None:
        if not trusted:
            for _ in compared(read_range(self._bucket, stored, 0, stored.size), stored, self._bucket.url):
                pass
        elif self._upload is not None:
            found = self._bucket.head(self._key)
            if found is None or found.size != stored.size:
                raise Corrupt(
                    f"{self._key} in {self._bucket.url} has {found.size if found else 'no'} bytes instead of"
                    f" {stored.size}"
                )
