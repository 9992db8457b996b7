"""Keys of age as text. The two keys of the tests were made by age-keygen 1.1.1."""

import pytest

from ocore_crds.text import age_keys

RECIPIENT = "age1tpdhvgxhwf9fcdgyegcdk4rtuvps4g93g3tgh3j2uqa30sel4fsq5fa0u2"
SECRET = "AGE-SECRET-KEY-1ZF2QMMTG35FXL30TN7SNK5QJ005FHZEA5STWKEXVA67VKP6C7L3SMKP3JN"


def test_a_recipient_of_age_keygen_is_valid() -> None:
    assert age_keys.recipient_problem(RECIPIENT) == ""
    assert age_keys.recipient(age_keys.public_key(RECIPIENT)) == RECIPIENT


def test_a_secret_key_of_age_keygen_is_read_and_written() -> None:
    private = age_keys.secret_key(SECRET)
    assert len(private) == age_keys.KEY_BYTES
    assert age_keys.secret(private) == SECRET


def test_keys_with_leading_and_trailing_zeros_survive() -> None:
    for key in (bytes(32), b"\xff" * 32, b"\0" * 31 + b"\1", b"\x80" + b"\0" * 31):
        assert age_keys.public_key(age_keys.recipient(key)) == key
        assert age_keys.secret_key(age_keys.secret(key)) == key


@pytest.mark.parametrize("position", range(4, len(RECIPIENT)))
def test_one_wrong_character_is_noticed(position: int) -> None:
    other = "q" if RECIPIENT[position] != "q" else "p"
    wrong = RECIPIENT[:position] + other + RECIPIENT[position + 1 :]
    assert "checksum" in age_keys.recipient_problem(wrong)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "does not begin with age1"),
        ("alice", "does not begin with age1"),
        (RECIPIENT.upper(), "lower case"),
        (RECIPIENT[:-1], "61 characters instead of 62"),
        (RECIPIENT + "q", "63 characters instead of 62"),
        (RECIPIENT[:10] + "b" + RECIPIENT[11:], "a character that no key has"),
        (f"{RECIPIENT}\n", "white space"),
        (f" {RECIPIENT}", "white space"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN", "SSH key"),
        ("age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt", "plugin yubikey"),
        ("age1pq1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "plugin pq"),
    ],
)
def test_the_problem_names_what_was_given(text: str, named: str) -> None:
    assert named in age_keys.recipient_problem(text)


@pytest.mark.parametrize("text", [SECRET, SECRET.lower(), f"# created\n{SECRET}"])
def test_a_secret_key_as_recipient_is_named_and_never_repeated(text: str) -> None:
    problem = age_keys.recipient_problem(text)
    assert "secret key" in problem
    assert text[-20:] not in problem


def test_bits_after_the_key_must_be_zero() -> None:
    """Else two texts were the same recipient."""
    number = int.from_bytes(bytes(32), "big") << 4 | 1
    values = [number >> 5 * (51 - index) & 31 for index in range(52)]
    checksum = age_keys._polymod([*age_keys._expanded("age"), *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [checksum >> 5 * (5 - index) & 31 for index in range(6)]
    text = "age1" + "".join(age_keys._CHARACTERS[value] for value in values)
    assert "last bits are not zero" in age_keys.recipient_problem(text)


def test_a_wrong_secret_key_is_not_repeated() -> None:
    wrong = SECRET[:-1] + ("Q" if SECRET[-1] != "Q" else "P")
    with pytest.raises(ValueError, match="checksum") as error:
        age_keys.secret_key(wrong)
    assert wrong[20:] not in str(error.value)
    with pytest.raises(ValueError, match="upper case"):
        age_keys.secret_key(SECRET.lower())
