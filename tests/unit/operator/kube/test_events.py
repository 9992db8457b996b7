"""Events that the API server takes."""

from hypothesis import given
from hypothesis import strategies as st

from ocore_operator.kube.events import MAX_MESSAGE, build
from support.operator.objects import NOW, snapshot


@given(st.text(max_size=3000), st.integers(1, 250))
def test_any_message_and_name_fit(message: str, length: int) -> None:
    event = build(snapshot(name="x" * length), "Warning", "NoSpace", message, NOW)
    assert len(event["message"].encode()) <= MAX_MESSAGE
    assert len(event["metadata"]["name"]) <= 253
