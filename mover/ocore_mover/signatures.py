"""Signatures of manifests: Ed25519, in the format of ``ssh-keygen -Y`` (SSHSIG), so that a person checks them with it.

Source: PROTOCOL.sshsig of OpenSSH. docs/decisions/0226-signatures.md.
"""

import base64
import binascii
import hashlib
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from ocore_crds import conditions
from ocore_crds.stored.manifest import AnyManifest
from ocore_crds.text import ssh_keys
from ocore_mover.errors import MoverError
from ocore_mover.store.interface import Store, small

#: What a signature is for: one of another namespace does not count.
NAMESPACE = "ocore-snapshot"
#: The key of a Secret of type kubernetes.io/ssh-auth.
KEY_FILE = "ssh-privatekey"
#: Bytes of a signature object at most. One has 300.
MOST_BYTES = 4096

_MAGIC, _VERSION, _HASH = b"SSHSIG", 1, "sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAKE = "ssh-keygen -t ed25519 -N '' -f signing makes one"
#: Bytes of a private key file.
_KEY_BYTES = 64 * 1024


class Signer:
    """Signs the manifests of one Job."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._blob = ssh_keys.encoded(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self.fingerprint = ssh_keys.fingerprint(self._blob)

    @classmethod
    def load(cls, folder: Path, signers: Sequence[str]) -> "Signer":
        """The key of a mounted Secret. Raises MoverError SigningKeyInvalid where it cannot sign, or its public key is
        none of `signers`: what it signs would not be believed later."""
        try:
            with (folder / KEY_FILE).open("rb") as file:
                data = file.read(_KEY_BYTES)
        except OSError as error:
            raise _invalid(f"it has no key {KEY_FILE} that can be read ({error.strerror})") from error
        try:
            key = load_ssh_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            why = "has a passphrase" if "password" in str(error).lower() else "is no private key of OpenSSH"
            raise _invalid(f"its {KEY_FILE} {why}") from None  # the error may repeat a part of it
        if not isinstance(key, Ed25519PrivateKey):
            raise _invalid(f"its {KEY_FILE} is not of type {ssh_keys.TYPE}")
        found = cls(key)
        if found._blob not in map(ssh_keys.blob, signers):
            raise _invalid(f"the public key of its {KEY_FILE} ({found.fingerprint}) is not in spec.signing.publicKeys")
        return found

    def write(self, store: Store, manifest: AnyManifest, data: bytes) -> None:
        """Signs the bytes of a manifest. The signature is written before the manifest: no signed snapshot exists
        without it."""
        for key in manifest.signature_keys():
            with store.writer(key) as writer:
                writer.write(self.sign(data))
                writer.commit()

    def sign(self, data: bytes) -> bytes:
        """The signature, as a file of ``ssh-keygen -Y sign``."""
        signature = _strings(ssh_keys.TYPE.encode(), self._key.sign(_signed(data)))
        document = _MAGIC + _VERSION.to_bytes(4, "big")
        document += _strings(self._blob, NAMESPACE.encode(), b"", _HASH.encode(), signature)
        lines = textwrap.wrap(base64.b64encode(document).decode(), 70)
        return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def check(store: Store, manifest: AnyManifest, data: bytes, signers: Sequence[str]) -> None:
    """Raises MoverError SignatureInvalid where the bytes of a manifest have no valid signature of one of these keys.

    In a bucket with versioning an older version of the signature counts, too.
    """
    ids = manifest.identity
    if manifest.signature is None:
        raise _refused("It is not signed", ids.snapshot_id, signers)
    keys = [key for key in map(ssh_keys.blob, signers) if ssh_keys.fingerprint(key) == manifest.signature.signer]
    if not keys:
        raise _refused(f"It is signed by {manifest.signature.signer}", ids.snapshot_id, signers)
    (key,) = manifest.signature_keys()
    found = small(store, key, MOST_BYTES)
    if found is not None and fits(found, data, keys):
        return
    if store.older(key, lambda each: fits(each, data, keys), limit=MOST_BYTES) is None:
        problem = "is not one of its manifest" if found is not None else "does not exist"
        raise _refused(f"Its signature {problem}", ids.snapshot_id, signers)


def fits(signature: bytes, data: bytes, keys: Sequence[bytes]) -> bool:
    """Whether it is a signature of these bytes, by one of these keys (as :func:`ssh_keys.blob`)."""
    try:
        signer, _, _, _, signed = _parsed(signature)  # namespace and hash are part of what is signed
        _, value = _split(signed, 2)
        if signer not in keys:
            return False
        Ed25519PublicKey.from_public_bytes(signer[-ssh_keys.KEY_BYTES :]).verify(value, _signed(data))
    except (ValueError, InvalidSignature):
        return False
    return True


def _signed(data: bytes) -> bytes:
    """What is signed of a document: its digest, and what the signature is for."""
    return _MAGIC + _strings(NAMESPACE.encode(), b"", _HASH.encode(), hashlib.sha512(data).digest())


def _parsed(signature: bytes) -> list[bytes]:
    """Key, namespace, a reserved text, hash and signature. Raises ValueError."""
    lines = signature.decode("ascii").split("\n")
    if lines[0] != _BEGIN or _END not in lines:
        raise ValueError("no signature of ssh-keygen")
    try:
        document = base64.b64decode("".join(lines[1 : lines.index(_END)]), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    head = _MAGIC + _VERSION.to_bytes(4, "big")
    if not document.startswith(head):
        raise ValueError("another version")
    return _split(document.removeprefix(head), 5)


def _strings(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _split(data: bytes, count: int) -> list[bytes]:
    """As many strings, each with its length before it, and nothing behind them. Raises ValueError."""
    found = []
    for _ in range(count):
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            raise ValueError("truncated")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    if data:
        raise ValueError("bytes behind the end")
    return found


def _refused(problem: str, snapshot_id: str, signers: Sequence[str]) -> MoverError:
    wanted = ", ".join(ssh_keys.fingerprint(ssh_keys.blob(each)) for each in signers)
    return MoverError(
        conditions.SIGNATURE_INVALID, f"{problem}. Snapshot {snapshot_id} needs a signature of {wanted} (spec.signing)."
    )


def _invalid(problem: str) -> MoverError:
    return MoverError(
        conditions.SIGNING_KEY_INVALID,
        f"The Secret of spec.signing cannot sign: {problem}. Give it an Ed25519 key without a passphrase: {_MAKE}, and"
        f" kubectl create secret generic NAME --type kubernetes.io/ssh-auth --from-file={KEY_FILE}=signing the Secret",
    )
