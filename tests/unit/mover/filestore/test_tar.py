"""Our tar headers, as others read them."""

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from ocore_mover.filestore import tar


@given(
    name=st.binary(min_size=1, max_size=300).filter(lambda b: b"\0" not in b and not b.endswith(b"/")),
    content=st.binary(max_size=1200),
    mode=st.integers(0, 0o7777),
    mtime=st.integers(0, 2**40),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
)
def test_python_reads_what_we_write(name: bytes, content: bytes, mode: int, mtime: int, uid: int, gid: int) -> None:
    data = tar.header(name, size=len(content), mode=mode, mtime=mtime, uid=uid, gid=gid) + content
    data += bytes(tar.padding(len(content)))
    data += tar.trailer(len(data))
    assert len(data) % tar.RECORD == 0
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        (member,) = archive.getmembers()
        assert member.name.encode("utf-8", "surrogateescape") == name
        assert (member.mode, member.mtime, member.uid, member.gid) == (mode, mtime, uid, gid)
        file = archive.extractfile(member)
        assert file is not None
        assert file.read() == content


@given(size=st.integers(0, 2**60))
def test_sizes_of_any_height(size: int) -> None:
    info = tarfile.TarInfo.frombuf(tar.header(b"x", size=size, mode=0o644, mtime=0), "utf-8", "strict")
    assert info.size == size


@given(target=st.binary(min_size=1, max_size=300).filter(lambda b: b"\0" not in b))
def test_links(target: bytes) -> None:
    data = tar.header(b"link", size=0, mode=0o777, mtime=0, kind=tar.SYMLINK, link=target)
    data += tar.trailer(len(data))
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        (member,) = archive.getmembers()
        assert member.issym()
        assert member.linkname.encode("utf-8", "surrogateescape") == target
