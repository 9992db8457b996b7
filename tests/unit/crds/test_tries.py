"""Which tries of the rules of CRDs one request asks together (support/crds/tries.py)."""

from itertools import combinations

from support.crds.rules import VALIDATIONS, Rule, steps
from support.crds.tries import RULES, Try, alone, groups, key, part_of, tries


def members() -> dict[str, dict[str, Try]]:
    """Name of the group → its tries."""
    found: dict[str, dict[str, Try]] = {}
    for rule in RULES:
        for attempt in tries(rule):
            asked = key(rule.kind, part_of(rule), attempt)
            if group := groups().get(asked):
                found.setdefault(group.name, {})[asked] = attempt
    return found


def test_no_try_of_a_group_changes_what_another_one_changes() -> None:
    """A cause that names a field is the answer to one try only, and a value that is taken was tried as it is."""
    for name, found in members().items():
        paths = [(n, tuple(steps(path))) for n, attempt in enumerate(found.values()) for path in attempt.changes]
        for (one, a), (other, b) in combinations(paths, 2):
            shorter = min(len(a), len(b))
            assert one == other or a[:shorter] != b[:shorter], f"{name}: {a} and {b}"
        assert len({bool(attempt.refused) for attempt in found.values()}) == 1


def test_one_request_makes_all_changes_of_its_group() -> None:
    together = {group.name: group.together.changes for group in groups().values()}
    for name, found in members().items():
        changes = [item for attempt in found.values() for item in attempt.changes.items()]
        assert together[name] == dict(changes)
        assert len(together[name]) == len(changes)


def test_what_has_no_field_of_its_own_is_asked_alone() -> None:
    cel = next(rule for rule in RULES if rule.keyword == VALIDATIONS)
    assert all(alone(cel, attempt) for attempt in tries(cel))
    default = next(rule for rule in RULES if rule.keyword == "default")
    assert all(alone(default, attempt) for attempt in tries(default))
    named = Rule("SnapshotPolicy", "spec.environmentRef.name", "maxLength", 200)
    assert all(alone(named, attempt) for attempt in tries(named))
    for rule in RULES:
        for attempt in tries(rule):
            asked = key(rule.kind, part_of(rule), attempt)
            assert (asked in groups()) == (bool(attempt.changes) and not alone(rule, attempt))
