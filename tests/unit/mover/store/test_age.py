"""Files of age, against two others' work: Debian's age, and the test vectors of the format.

``age_vectors.json`` has the vectors of c2sp.org/CCTV/age v0.0.0-20251208015420 (0BSD, CC0 or Unlicense) that need
X25519 alone and have at most 5,000 bytes.
"""

import base64
import hashlib
import json
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_crds.text import age_keys
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store import age
from support.mover.stored import random_bytes

VECTORS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("age_vectors.json").read_text())
SIZES = (0, 1, age.CHUNK - 1, age.CHUNK, age.CHUNK + 1, 3 * age.CHUNK, 300 * age.CHUNK + 5)
#: A point of X25519 for which every shared secret is zero.
LOW_ORDER = bytes(32)


@pytest.fixture(scope="module")
def identity() -> age.Identity:
    return age.Identity.generate()


def by_age(data: bytes, *arguments: str) -> bytes:
    return subprocess.run(["age", *arguments], input=data, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_of_the_format(name: str) -> None:
    vector = VECTORS[name]
    data = base64.b64decode(vector["file"])
    if vector.get("compressed") == "zlib":
        data = zlib.decompress(data)
    identities = [found for text in vector.get("identities", ()) for found in age.parse_identities(text)]
    if vector["expect"] == "success":
        assert hashlib.sha256(age.decrypt(data, identities)).hexdigest() == vector["payload"]
        return
    with pytest.raises(age.NoMatch if vector["expect"] == "no match" else Corrupt):
        age.decrypt(data, identities)


def test_the_vectors_are_there() -> None:
    assert len(VECTORS) > 60
    assert {vector["expect"] for vector in VECTORS.values()} == {
        "success",
        "no match",
        "HMAC failure",
        "header failure",
        "payload failure",
    }


@pytest.mark.parametrize("size", SIZES)
def test_age_reads_what_is_written(size: int, identity: age.Identity, tmp_path: Path) -> None:
    data = random_bytes(size)
    other = age.Identity.generate()
    (tmp_path / "identity.txt").write_text(f"# of a person\n{identity.secret}\n")
    for recipients in ([identity.recipient], [other.recipient, identity.recipient]):
        assert by_age(age.encrypt(data, recipients), "--decrypt", "-i", str(tmp_path / "identity.txt")) == data


@pytest.mark.parametrize("size", SIZES)
def test_what_age_writes_is_read(size: int, identity: age.Identity) -> None:
    data = random_bytes(size)
    other = age.Identity.generate()
    for recipients in ([identity], [other, identity]):
        found = by_age(data, "--encrypt", *(word for each in recipients for word in ("-r", each.recipient)))
        assert age.decrypt(found, [age.Identity.generate(), identity]) == data


def test_an_identity_of_age_keygen_is_read() -> None:
    written = subprocess.run(["age-keygen"], check=True, capture_output=True, text=True, timeout=60).stdout
    (found,) = age.parse_identities(written)
    assert f"# public key: {found.recipient}\n" in written
    assert f"\n{found.secret}\n" in written


def test_two_files_of_the_same_bytes_differ(identity: age.Identity) -> None:
    """Each has a key and a nonce of its own."""
    one, two = (age.encrypt(b"the same", [identity.recipient]) for _ in range(2))
    assert not {one[begin : begin + 16] for begin in range(60, len(one) - 16)} & {
        two[begin : begin + 16] for begin in range(60, len(two) - 16)
    }


def test_an_identity_is_not_shown(identity: age.Identity) -> None:
    assert identity.secret not in repr(identity)
    assert identity.recipient in repr(identity)


@given(st.lists(st.integers(0, 3 * age.CHUNK), max_size=6))
def test_pieces_make_no_difference(lengths: list[int]) -> None:
    identity = age.Identity.generate()
    data = random_bytes(sum(lengths))
    encryptor = age.Encryptor([identity.recipient])
    written, position = [encryptor.header], 0
    for length in lengths:
        written += encryptor.update(memoryview(data)[position : position + length])
        position += length
    found = b"".join([*written, encryptor.finish()])
    assert len(found) == age.stored_size(len(data))
    assert age.decrypt(found, [identity]) == data


@given(st.integers(0, 2**45))
def test_the_sizes_follow_from_each_other(plain: int) -> None:
    stored = age.stored_size(plain)
    assert age.plain_size(stored) == plain
    assert age.stored_size(plain + 1) > stored


@given(st.integers(0, 2**20))
def test_a_size_that_no_file_has_is_refused(stored: int) -> None:
    try:
        plain = age.plain_size(stored)
    except ValueError:
        assert all(age.stored_size(near) != stored for near in range(max(0, stored - 1000), stored))
    else:
        assert age.stored_size(plain) == stored


@pytest.mark.parametrize("stored", [0, 183, 199, age.START + age.CHUNK + 2 * age.TAG, -1])
def test_impossible_sizes(stored: int) -> None:
    with pytest.raises(ValueError, match=f"has {stored} bytes"):
        age.plain_size(stored)


def test_every_byte_is_protected(identity: age.Identity) -> None:
    data = age.encrypt(b"some bytes", [identity.recipient])
    for position in range(len(data)):
        spoiled = bytearray(data)
        spoiled[position] ^= 0x01
        with pytest.raises((Corrupt, age.NoMatch)):
            age.decrypt(bytes(spoiled), [identity])


def test_a_file_for_others_matches_no_identity(identity: age.Identity) -> None:
    data = age.encrypt(b"x", [age.Identity.generate().recipient])
    with pytest.raises(age.NoMatch):
        age.decrypt(data, [identity])
    with pytest.raises(age.NoMatch):
        age.decrypt(data, [])


@pytest.mark.parametrize(
    ("recipient", "named"),
    [("age1wrong", "not a recipient of age"), (age_keys.recipient(LOW_ORDER), "low order")],
)
def test_a_recipient_that_no_one_can_be_is_refused(recipient: str, named: str) -> None:
    with pytest.raises(MoverError, match=named) as error:
        age.encrypt(b"x", [recipient])
    assert error.value.reason == conditions.RECIPIENT_INVALID


SECRET = age.Identity(bytes(range(32))).secret


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no line that begins with"),
        ("# public key: age1…\n\n", "no line that begins with"),
        (age.Identity(bytes(range(32))).recipient, "line 1 is no secret key of age: it is a recipient"),
        (f"# x\n{SECRET[:-1]}", "line 2 is no secret key of age: it has 73 characters"),
        (f"{SECRET}\nAGE-PLUGIN-YUBIKEY-1Q", "line 2 .* of a plugin"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "encrypted itself"),
        ("age-encryption.org/v1\n-> scrypt", "encrypted itself"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "of SSH or TLS"),
        (SECRET.lower(), "upper case"),
    ],
)
def test_what_is_no_identity_is_named_and_never_repeated(text: str, named: str) -> None:
    with pytest.raises(MoverError, match=named) as error:
        age.parse_identities(text)
    assert error.value.reason == conditions.IDENTITY_INVALID
    assert SECRET[20:60] not in error.value.message.upper()


def test_several_identities_in_one_file(identity: age.Identity) -> None:
    found = age.parse_identities(f"# one\r\n{SECRET}\r\n\n  {identity.secret}  \n# end")
    assert [each.secret for each in found] == [SECRET, identity.secret]
