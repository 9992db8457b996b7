"""Keys of age as text: recipients (``age1…``) and secret keys (``AGE-SECRET-KEY-1…``). Pure: nothing is encrypted here.

Source: https://c2sp.org/age (X25519) and BIP 173 (Bech32).
"""

import re

#: A recipient, but for its checksum. CRDs have it as their pattern.
RECIPIENT_PATTERN = "^age1[02-9ac-hj-np-z]{58}$"
#: Bytes of a key of X25519.
KEY_BYTES = 32

_RECIPIENT, _SECRET = "age", "AGE-SECRET-KEY-"
_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6
_PLUGIN = re.compile(r"age1([a-z0-9+._-]+)1[02-9ac-hj-np-z]+")
_MAKE = "age-keygen -o identity.txt makes an identity and prints its recipient"


def recipient_problem(text: str) -> str:
    """What is wrong with a recipient, and what to do; "" if it is valid. A secret key is never repeated in it."""
    if _SECRET in text.upper():
        return (
            "This is a secret key, not a recipient. It is no longer secret: every reader of this field has it."
            f" Make another identity, and write only its recipient (age1…) here. {_MAKE}."
        )
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        return f"An SSH key is not supported as a recipient. Use a recipient of age (age1…): {_MAKE}."
    if text != text.strip():
        return "The recipient has white space around it. Remove it."
    if not text.startswith("age1") and text.lower().startswith("age1"):
        return "A recipient of age is in lower case. Write age1… as age-keygen prints it."
    try:
        public_key(text)
    except ValueError as error:
        if (plugin := _PLUGIN.fullmatch(text)) is not None:
            return f"A recipient of the plugin {plugin[1][:40]} is not supported. Use an X25519 recipient: {_MAKE}."
        return f"It is not a recipient of age: {error}. Copy the whole line that begins with age1. {_MAKE}."
    return ""


def public_key(recipient: str) -> bytes:
    """The X25519 public key of a recipient ``age1…``. Raises ValueError with what is wrong."""
    return _decoded(recipient, _RECIPIENT)


def recipient(public: bytes) -> str:
    """The recipient ``age1…`` of an X25519 public key."""
    return _encoded(_RECIPIENT, public)


def secret_key(text: str) -> bytes:
    """The X25519 private key of ``AGE-SECRET-KEY-1…``. Raises ValueError, which does not repeat it."""
    if text != text.upper():
        raise ValueError("a secret key is in upper case")
    return _decoded(text.lower(), _SECRET.lower())


def secret(private: bytes) -> str:
    """The text ``AGE-SECRET-KEY-1…`` of an X25519 private key."""
    return _encoded(_SECRET.lower(), private).upper()


def _decoded(text: str, prefix: str) -> bytes:
    """The 32 bytes of a key in Bech32. Raises ValueError."""
    found, separator, rest = text.rpartition("1")
    if not separator or found != prefix:
        raise ValueError(f"it does not begin with {prefix}1")
    if any(character not in _CHARACTERS for character in rest):
        raise ValueError("it has a character that no key has")
    values = [_CHARACTERS.index(character) for character in rest]
    expected = _length(KEY_BYTES) + _CHECKSUM
    if len(values) != expected:
        raise ValueError(f"it has {len(text)} characters instead of {len(prefix) + 1 + expected}")
    if _polymod(_expanded(prefix) + values) != 1:
        raise ValueError("its checksum does not match: a character is wrong")
    number = 0
    for value in values[:-_CHECKSUM]:
        number = number << 5 | value
    padding = 5 * _length(KEY_BYTES) - 8 * KEY_BYTES
    if number & (1 << padding) - 1:
        raise ValueError("its last bits are not zero")
    return (number >> padding).to_bytes(KEY_BYTES, "big")


def _encoded(prefix: str, key: bytes) -> str:
    length = _length(len(key))
    number = int.from_bytes(key, "big") << 5 * length - 8 * len(key)
    values = [number >> 5 * (length - 1 - index) & 31 for index in range(length)]
    checksum = _polymod([*_expanded(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    values += [checksum >> 5 * (_CHECKSUM - 1 - index) & 31 for index in range(_CHECKSUM)]
    return f"{prefix}1{''.join(_CHARACTERS[value] for value in values)}"


def _length(count: int) -> int:
    """Groups of five bits for so many bytes."""
    return (8 * count + 4) // 5


def _expanded(prefix: str) -> list[int]:
    return [*(ord(character) >> 5 for character in prefix), 0, *(ord(character) & 31 for character in prefix)]


def _polymod(values: list[int]) -> int:
    """The checksum of BIP 173."""
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            check ^= generator if top >> bit & 1 else 0
    return check
