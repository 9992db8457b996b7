"""The settings read the environment as the chart writes it."""

import pytest
from pydantic import ValidationError

from ocore_operator.settings import Settings


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCORE_NAMESPACES", "shop, blog,")
    monkeypatch.setenv("OCORE_MOVER_MAJORS", "17,15")
    settings = Settings()
    assert settings.namespaces == ("shop", "blog")
    assert settings.mover_majors == (15, 17)
    monkeypatch.setenv("OCORE_NAMESPACES", "")
    assert Settings().namespaces == ()


def test_no_major_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCORE_MOVER_MAJORS", "")
    with pytest.raises(ValidationError, match="OCORE_MOVER_MAJORS"):
        Settings()


def test_the_image_of_a_major() -> None:
    settings = Settings(mover_image="example/mover:{major}-1", mover_majors=(15, 17))
    assert settings.image(15) == "example/mover:15-1"
    assert settings.image(0) == "example/mover:17-1"


def test_an_image_with_a_digest_is_named_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCORE_MOVER_IMAGE", "example/mover:1-pg{major}")
    monkeypatch.setenv("OCORE_MOVER_DIGESTS", f"17=sha256:{'1' * 64},")
    settings = Settings()
    assert settings.image(17) == settings.image(0) == f"example/mover:1-pg17@sha256:{'1' * 64}"
    assert settings.image(15) == "example/mover:1-pg15"
    monkeypatch.setenv("OCORE_MOVER_DIGESTS", "")
    assert Settings().mover_digests == {}


@pytest.mark.parametrize("digests", ["17", "17=abc", "17=sha256:1", f"new=sha256:{'1' * 64}"])
def test_a_digest_that_is_none_is_a_mistake(digests: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCORE_MOVER_DIGESTS", digests)
    with pytest.raises(ValidationError, match="mover_digests"):
        Settings()


def test_one_pod_has_one_identity() -> None:
    pod = Settings(pod_name="operator-0", pod_uid="u")
    assert pod.identity() == pod.identity() == "operator-0_u"
    assert Settings().identity() != Settings().identity()


def test_every_knob_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
