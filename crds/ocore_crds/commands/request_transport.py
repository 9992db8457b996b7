"""How a request reaches a Job's container: as JSON in environment variables. Pure.

Linux limits a variable to 128 KiB, so a long document continues in further ones. The kubelet expands ``$(NAME)`` in the
value of a variable and reads ``$$`` as ``$``: the document has no ``$``, but its escape in JSON.
"""

import json
from collections.abc import Mapping
from itertools import count, takewhile

from ocore_crds.model import Model

#: The first variable; those after it have a number at their end, from 1.
VARIABLE = "OCORE_REQUEST"
#: Characters of one variable. The document is ASCII.
PART = 100_000
#: Variables at most: with more, the API server could refuse the Job for its size (1.5 MiB).
PARTS = 10


def variables(request: Model) -> dict[str, str]:
    """The variables for the container. Fields that have their default are left out, so that a program which does not
    know them accepts the document. Raises ValueError where the document is too long."""
    fields = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    text = json.dumps(fields, separators=(",", ":")).replace("$", "\\u0024")
    if len(text) > PART * PARTS:
        raise ValueError(f"the request of the Job has {len(text)} bytes; at most {PART * PARTS} can be passed")
    return {_name(at // PART): text[at : at + PART] for at in range(0, len(text), PART)}


def document(environment: Mapping[str, str]) -> str | None:
    """The document in these variables; None where there is none."""
    parts = takewhile(lambda part: part is not None, (environment.get(_name(number)) for number in count()))
    return "".join(part for part in parts if part is not None) or None


def _name(number: int) -> str:
    return f"{VARIABLE}_{number}" if number else VARIABLE
