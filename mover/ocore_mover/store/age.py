"""Files of age, version 1, for X25519 recipients: whole small ones, streams, and ranges of a stored one.

Source: https://c2sp.org/age. Any other program for the format reads and writes the same files.
"""

import base64
import hmac
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ocore_crds import conditions
from ocore_crds.text import age_keys
from ocore_mover.errors import Corrupt, MoverError

#: Bytes of plain text that are encrypted together, and what each chunk is longer in the file.
CHUNK = 64 * 1024
TAG = 16
#: Bytes of the header with one X25519 stanza, and of the nonce after it.
HEADER = 168
NONCE = 16
#: Where the first chunk begins in a file for one recipient.
START = HEADER + NONCE

_VERSION = b"age-encryption.org/v1\n"
_STANZA = re.compile(rb"-> ([!-~]+(?: [!-~]+)*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)")
_END = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")
_X25519 = b"X25519"
_WRAPPING = b"age-encryption.org/v1/X25519"
_FILE_KEY = 16


class NoMatch(Exception):
    """The file is for other recipients."""


class _Malformed(Exception):
    """The bytes are no file of age."""


@dataclass(frozen=True)
class _Stanza:
    arguments: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True)
class _Header:
    stanzas: tuple[_Stanza, ...]
    mac: bytes
    end: int  # in the file


class Identity:
    """A private key of X25519. It is never shown but by `secret`."""

    def __init__(self, private: bytes) -> None:
        """`private`: 32 bytes."""
        self._private = private
        self._key = X25519PrivateKey.from_private_bytes(private)
        self._public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """A new one, from the random numbers of the operating system."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @property
    def recipient(self) -> str:
        """The public key: ``age1…``."""
        return age_keys.recipient(self._public)

    @property
    def secret(self) -> str:
        """The private key: ``AGE-SECRET-KEY-1…``."""
        return age_keys.secret(self._private)

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"

    def file_key(self, stanza: _Stanza) -> bytes | None:
        """The key of a file that a stanza has for this identity; None: it is for another one. Raises _Malformed."""
        if stanza.arguments[0] != _X25519:
            return None
        if len(stanza.arguments) != 2 or len(stanza.body) != _FILE_KEY + TAG:
            raise _Malformed("a stanza has another form than X25519 has")
        share = _decoded(stanza.arguments[1])
        if len(share) != age_keys.KEY_BYTES:
            raise _Malformed("the share of a stanza has another length")
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise _Malformed("the share of a stanza has a low order") from error
        try:
            return _wrapping(shared, share, self._public).decrypt(bytes(12), stanza.body, None)
        except InvalidTag:
            return None


def parse_identities(text: str) -> tuple[Identity, ...]:
    """The identities of an identity file, as age-keygen writes it. Raises MoverError IdentityInvalid, which names a
    line and never repeats it."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        try:
            found.append(Identity(age_keys.secret_key(content)))
        except ValueError as error:
            raise _invalid(f"line {number} is no secret key of age: {_what(content) or error}") from error
    if not found:
        raise _invalid("it has no line that begins with AGE-SECRET-KEY-1")
    return tuple(found)


def _what(line: str) -> str:
    """What a line has in place of a secret key; "" if that is not known."""
    if line.startswith("age1"):
        return "it is a recipient, the public part"
    if line.startswith("AGE-PLUGIN-"):
        return "it is the identity of a plugin, which is not supported"
    if line.startswith("age-encryption.org/") or "AGE ENCRYPTED FILE" in line:
        return "the file is encrypted itself. Decrypt it with age first"
    if "PRIVATE KEY" in line:
        return "it is a key of SSH or TLS, which is not supported"
    return ""


def _invalid(problem: str) -> MoverError:
    return MoverError(
        conditions.IDENTITY_INVALID,
        f"The identity cannot be used: {problem}. Use the file that age-keygen wrote, without a change.",
    )


# --- writing ------------------------------------------------------------------------------------------------------


class Encryptor:
    """Encrypts one stream. `header` comes first, then what :meth:`update` and :meth:`finish` return."""

    def __init__(self, recipients: Sequence[str]) -> None:
        """Raises MoverError RecipientInvalid."""
        file_key = os.urandom(_FILE_KEY)
        nonce = os.urandom(NONCE)
        stanzas = b"".join(_stanza(file_key, recipient) for recipient in recipients)
        start = _VERSION + stanzas + b"---"
        self.header = start + b" " + _encoded(_mac(file_key, start)) + b"\n" + nonce
        self._cipher = _payload(file_key, nonce)
        self._index = 0
        self._rest = bytearray()  # at most a chunk: only the end shows which one is the last

    def update(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """The chunks that are full with these bytes, and not the last ones. To be read to the end."""
        left = memoryview(data).cast("B")
        if self._rest:
            taken = left[: CHUNK - len(self._rest)]
            self._rest += taken
            left = left[len(taken) :]
            if not left:
                return
            yield self._chunk(self._rest, last=False)
            self._rest = bytearray()
        while len(left) > CHUNK:
            yield self._chunk(left[:CHUNK], last=False)
            left = left[CHUNK:]
        self._rest += left

    def finish(self) -> bytes:
        """The last chunk."""
        return self._chunk(self._rest, last=True)

    def _chunk(self, data: bytearray | memoryview, *, last: bool) -> bytes:
        found = self._cipher.encrypt(_nonce(self._index, last=last), data, None)
        self._index += 1
        return found


def encrypt(data: bytes, recipients: Sequence[str]) -> bytes:
    """A file for all the recipients. Raises MoverError RecipientInvalid."""
    encryptor = Encryptor(recipients)
    return b"".join((encryptor.header, *encryptor.update(data), encryptor.finish()))


def stored_size(plain: int) -> int:
    """Bytes of a file for one recipient with so many bytes of plain text."""
    return START + plain + TAG * chunks(plain)


def plain_size(stored: int) -> int:
    """Bytes of plain text in a file for one recipient of so many bytes. Raises ValueError if no file has that size."""
    count, rest = divmod(stored - START, CHUNK + TAG)
    plain = stored - START - TAG * (count + (1 if rest else 0))
    if stored < START + TAG or stored_size(max(plain, 0)) != stored:
        raise ValueError(f"no file of age for one recipient has {stored} bytes")
    return plain


def chunks(plain: int) -> int:
    """Chunks of so many bytes of plain text: one at least."""
    return max(1, -(-plain // CHUNK))


# --- reading ------------------------------------------------------------------------------------------------------


def decrypt(data: bytes, identities: Iterable[Identity]) -> bytes:
    """The plain text of a whole file, of any number of recipients. Raises NoMatch if it is for none of the identities,
    and Corrupt if it is no whole file of age."""
    try:
        header = _parsed(data)
        cipher = _cipher(data, header, identities)
    except _Malformed as error:
        raise Corrupt(f"this is no whole file of age: {error}") from error
    stored = data[header.end + NONCE :]
    return b"".join(Payload(cipher, len(stored)).decrypted([stored], 0))


class Payload:
    """The plain text of one file."""

    def __init__(self, cipher: ChaCha20Poly1305, stored: int, key: str = "") -> None:
        """`stored`: bytes after header and nonce. `key`: of the object, for messages."""
        self._cipher = cipher
        self._last = max(0, -(-stored // (CHUNK + TAG)) - 1)
        self._key = key

    def decrypted(self, stored: Iterable[bytes], index: int) -> Iterator[bytes]:
        """The plain text of stored bytes, chunk by chunk. They begin with the chunk of this index and end with a whole
        one. Raises Corrupt."""
        rest = bytearray()
        for piece in stored:
            rest += piece
            with memoryview(rest) as view:
                used = 0
                # The last chunk of the file may be shorter: it is opened when all bytes have come.
                while len(view) - used >= CHUNK + TAG:
                    yield self._open(view[used : used + CHUNK + TAG], index)
                    used, index = used + CHUNK + TAG, index + 1
            del rest[:used]
        if rest or index == 0:
            yield self._open(rest, index)

    def _open(self, chunk: bytearray | memoryview, index: int) -> bytes:
        last = index == self._last
        if last and len(chunk) <= TAG and index:
            raise self._broken("its last chunk is empty")
        try:
            return self._cipher.decrypt(_nonce(index, last=last), chunk, None)
        except InvalidTag as error:
            raise self._broken(
                f"chunk {index} of {self._last + 1} is not what was encrypted, or the file was cut there"
            ) from error

    def _broken(self, problem: str) -> Corrupt:
        return Corrupt(f"{self._key or 'this file of age'} cannot be decrypted: {problem}", self._key or None)


def opened(start: bytes, size: int, identity: Identity, key: str) -> Payload:
    """The payload of a data object of `size` stored bytes, which begins with these START bytes. They have room for one
    X25519 stanza and nothing else, so that all offsets are right. Raises Corrupt."""
    try:
        cipher = _cipher(start, _parsed(start), [identity])
    except _Malformed as error:
        raise Corrupt(f"{key} is no whole file of age: {error}", key) from error
    except NoMatch as error:
        raise Corrupt(f"{key} is encrypted for another identity than this snapshot's: it was replaced", key) from error
    return Payload(cipher, size - START, key)


def _cipher(data: bytes, header: _Header, identities: Iterable[Identity]) -> ChaCha20Poly1305:
    """Raises NoMatch and _Malformed."""
    found = next(_file_keys(header, identities), None)
    if found is None:
        raise NoMatch
    if not hmac.compare_digest(_mac(found, data[: header.end - 45]), header.mac):
        raise _Malformed("its header was changed")
    nonce = data[header.end : header.end + NONCE]
    if len(nonce) != NONCE:
        raise _Malformed("it ends after its header")
    return _payload(found, nonce)


def _file_keys(header: _Header, identities: Iterable[Identity]) -> Iterator[bytes]:
    for identity in identities:
        for stanza in header.stanzas:
            if (key := identity.file_key(stanza)) is not None:
                yield key


def _parsed(data: bytes) -> _Header:
    """The header. Raises _Malformed."""
    if not data.startswith(_VERSION):
        raise _Malformed("it does not begin with age-encryption.org/v1")
    position, stanzas = len(_VERSION), list[_Stanza]()
    while (line := _STANZA.match(data, position)) is not None:
        stanzas.append(_Stanza(tuple(line[1].split(b" ")), _decoded(line[2].replace(b"\n", b""))))
        position = line.end()
    end = _END.match(data, position)
    if end is None or not stanzas:
        raise _Malformed("its header is damaged or truncated")
    if len(stanzas) > 1 and any(stanza.arguments[0] == b"scrypt" for stanza in stanzas):
        raise _Malformed("it has a passphrase beside a recipient")
    return _Header(tuple(stanzas), _decoded(end[1]), end.end())


# --- both ---------------------------------------------------------------------------------------------------------


def _stanza(file_key: bytes, recipient: str) -> bytes:
    """Raises MoverError RecipientInvalid."""
    try:
        public = age_keys.public_key(recipient)
        ephemeral = X25519PrivateKey.generate()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        problem = age_keys.recipient_problem(recipient) or "It is a public key of low order: no one has its identity."
        raise MoverError(conditions.RECIPIENT_INVALID, f"A recipient cannot be used. {problem}") from error
    share = ephemeral.public_key().public_bytes_raw()
    body = _encoded(_wrapping(shared, share, public).encrypt(bytes(12), file_key, None))
    return b"-> %s %s\n%s\n" % (_X25519, _encoded(share), body)


def _wrapping(shared: bytes, share: bytes, public: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_derived(shared, salt=share + public, info=_WRAPPING))


def _payload(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_derived(file_key, salt=nonce, info=b"payload"))


def _mac(file_key: bytes, start: bytes) -> bytes:
    """Of a header up to and with ``---``."""
    return hmac.digest(_derived(file_key, salt=b"", info=b"header"), start, "sha256")


def _derived(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def _nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _encoded(data: bytes) -> bytes:
    """Base64 without padding."""
    return base64.b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    """Raises _Malformed for what :func:`_encoded` would not write."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise _Malformed("a value is no base64") from error
    if _encoded(data) != text:
        raise _Malformed("a value is no canonical base64")
    return data
