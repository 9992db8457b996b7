"""CEL rules for `x-kubernetes-validations`, as data. Source: https://kubernetes.io/docs/reference/using-api/cel/"""

from typing import Any

Rule = dict[str, str]


def rule(expression: str, message: str, **extra: str) -> Rule:
    """One validation rule; the message says what to do."""
    return {"rule": expression, "message": message, **extra}


def immutable(field: str) -> Rule:
    """The field may be neither changed, added nor removed. The rule belongs on the object, not on the field."""
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} cannot be changed; create a new object instead",
        fieldPath=f".{field}",
    )


def exactly_one(*fields: str) -> Rule:
    """Exactly one of the sibling objects is set."""
    total = " + ".join(f"(has(self.{f}) ? 1 : 0)" for f in fields)
    return rule(f"{total} == 1", f"give exactly one of {', '.join(fields)}")


def validations(*rules: Rule) -> dict[str, Any]:
    """For ``json_schema_extra``."""
    return {"x-kubernetes-validations": list(rules)}
