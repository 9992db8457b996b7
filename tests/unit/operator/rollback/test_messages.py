"""Every message of a whole rollback is made of whole sentences (issue 9, item 27)."""

import re
from collections.abc import Callable

import pytest

from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.text.sentences import sentence
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.kube import events
from ocore_operator.rollback.conditions import summarized
from support.operator.objects import NOW, snapshot
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import Model

#: Doubled or missing stops: "failed..", "failed The", "(failed.).".
WRONG = re.compile(r"(?<=\w)\.\.(?!\.)|[a-z)] The |\.\)\.|\. ?\.(?!\.)|\.[,;]\s|  ")


def run(model: Model, disturb: Callable[[Model], None]) -> list[str]:
    """All messages until no cleanup remains, as users see them."""
    operator, found = Operator(model), []
    for _ in range(4000):
        disturb(model)
        if not model.exists or (model.status.stage == "Ended" and model.status.residue != "Pending"):
            return found
        seen, action = operator.decide()
        if isinstance(action, Record):
            found += of_status(action.status, "", "")
            found += [events.build(snapshot(), n.type, n.reason, n.message, NOW)["message"] for n in action.notes]
        elif isinstance(action, Wait):
            found += of_status(seen.status, action.reason, action.message)
        if not operator.act(seen, action):
            model.advance(1 if model.status.stage != "Ended" else 20, 2)
    raise AssertionError(model.status)


def of_status(status: RollbackStatus, reason: str, message: str) -> list[str]:
    shown = summarized(status, generation=1, deleting=False, reason=reason, message=message, now=Model().now())
    steps = [s.message for s in status.steps]
    return [m for m in (*(c.message for c in shown.conditions), *steps, status.failure_message or "") if m]


def nothing(model: Model) -> None:
    """All goes well."""


def sessions(model: Model) -> None:
    model.session = model.status.stage == "Prepare"


def outage(model: Model) -> None:
    """The server does not answer from the switch on, for ten minutes."""
    model.server_up = model.status.stage not in ("Switch", "Inspect")


def by_hand(model: Model) -> None:
    if model.status.stage == "Ended" and model.by_hand_at is None and model.data.previous and not model.jobs:
        model.switch_by_hand()


@pytest.mark.parametrize(
    ("healthy", "disturb"),
    [(True, nothing), (False, nothing), (True, sessions), (True, outage), (True, by_hand)],
    ids=["well", "switched back", "sessions remain", "position unknown", "by hand"],
)
def test_every_message_is_made_of_whole_sentences(*, healthy: bool, disturb: Callable[[Model], None]) -> None:
    messages = run(Model(new_is_healthy=healthy), disturb)
    assert len(set(messages)) > 8
    assert [m for m in messages if m != sentence(m) or WRONG.search(m)] == []
