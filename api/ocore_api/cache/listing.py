"""JSON answers that are encoded while they are sent: a client that reads slowly has a piece in memory, not the whole
answer. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocore_api.cache.entries import RollbackEntry, SnapshotEntry
from ocore_api.views.values import encode

#: Bytes of a piece at most, but for one larger row and the end of the answer.
PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer: its beginning, its rows with commas between them, its end. `rows` is used up by the first reader;
    `length`: bytes of the answer."""

    head: bytes
    rows: Iterator[bytes]
    tail: bytes
    length: int

    def pieces(self) -> Iterator[bytes]:
        """The answer in pieces. A row is encoded when its piece is asked for, but for the first one of a piece: with
        the piece before."""
        parts, size, between = [self.head], len(self.head), b""
        for row in self.rows:
            if size + 1 + len(row) > PIECE:
                piece = b"".join(parts)
                parts.clear()
                size = 0
                yield piece
            parts += (between, row)
            size += len(between) + len(row)
            between = b","
        parts.append(self.tail)
        yield b"".join(parts)


def of_snapshots(head: bytes, entries: Sequence[SnapshotEntry], tail: bytes) -> Listing:
    """The answer with rows of Snapshots."""
    return Listing(head, (e.encoded for e in entries), tail, _length(head, [e.length for e in entries], tail))


def of_logs(head: bytes, entries: Sequence[RollbackEntry], deployments: Sequence[str | None], tail: bytes) -> Listing:
    """The answer with rollback logs. `deployments`: of each entry the deployment that its snapshot is of, from one
    moment: the length depends on it."""
    lengths = [len(_log(d)) + e.length - 1 for e, d in zip(entries, deployments, strict=True)]
    rows = (_log(d) + e.encoded[1:] for e, d in zip(entries, deployments, strict=True))
    return Listing(head, rows, tail, _length(head, lengths, tail))


def _log(deployment_id: str | None) -> bytes:
    """The beginning of a rollback log, up to what the entry has without its first brace."""
    return b'{"deploymentId":%b,' % encode(deployment_id)


def _length(head: bytes, rows: Sequence[int], tail: bytes) -> int:
    return len(head) + sum(rows) + max(0, len(rows) - 1) + len(tail)
