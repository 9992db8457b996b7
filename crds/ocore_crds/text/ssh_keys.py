"""Ed25519 public keys as OpenSSH writes them: ``ssh-ed25519 AAAA… comment``. Pure: nothing is signed here.

Source: RFC 8709 and RFC 4253, section 6.6.
"""

import base64
import hashlib
import re

TYPE = "ssh-ed25519"
#: Bytes of a key of Ed25519.
KEY_BYTES = 32
#: A public key, with or without a comment. CRDs have it as their pattern: only what follows has no fixed bytes.
PUBLIC_KEY_PATTERN = "^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}( [^\\n\\r]*)?$"

_PATTERN = re.compile(PUBLIC_KEY_PATTERN)


def blob(text: str) -> bytes:
    """The key as signatures have it: its type and its 32 bytes, each with its length. Raises ValueError with what is
    wrong; a private key is never repeated in it."""
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key. Make another one, and write only its public key (the file .pub) here")
    if not _PATTERN.fullmatch(text):
        raise ValueError("it is not one line of ssh-ed25519, as ssh-keygen -t ed25519 writes it to the file .pub")
    return base64.b64decode(text.split(" ")[1], validate=True)


def public_key(text: str) -> bytes:
    """The 32 bytes. Raises ValueError as :func:`blob`."""
    return blob(text)[-KEY_BYTES:]


def encoded(public: bytes) -> bytes:
    """As :func:`blob`, of the 32 bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in (TYPE.encode(), public))


def fingerprint(found: bytes) -> str:
    """``SHA256:…`` of a blob, as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(found).digest()).decode().rstrip("=")
