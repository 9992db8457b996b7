"""Options that every command has, and references to objects as people write them."""

from collections.abc import Sequence
from typing import Annotated

import typer

from ocore_crds.kinds import Kind
from ocore_crds.model import GROUP

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; the default is the context's.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="Path of the kubeconfig; the default is $KUBECONFIG.")
]


def named(text: str, kind: Kind) -> str:
    """The name in ``NAME`` or ``KIND/NAME``. Raises a usage error (exit code 2) if KIND is another kind."""
    return reference((text,), (kind,))[1] if "/" in text else text


def reference(words: Sequence[str], kinds: Sequence[Kind]) -> tuple[Kind, str]:
    """Kind and name in ``KIND/NAME`` or ``KIND NAME``, where KIND is a singular, plural or short name, with or without
    the group.

    Raises a usage error (exit code 2) for anything else.
    """
    parts = words[0].split("/") if len(words) == 1 else list(words)
    if len(parts) == 2 and parts[1]:
        prefix = parts[0].lower().removesuffix(f".{GROUP}")
        for kind in kinds:
            if prefix in (kind.singular, kind.plural, kind.short):
                return kind, parts[1]
    allowed = " or ".join(f"{kind.singular}/NAME ({kind.short}/NAME)" for kind in kinds)
    raise typer.BadParameter(f"{' '.join(words)!r}: write {allowed}")
