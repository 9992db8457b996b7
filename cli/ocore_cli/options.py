"""Groups of options, and references to objects as people write them."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar, get_origin, get_type_hints

import typer

from ocore_crds.group import GROUP
from ocore_crds.kinds import Kind

from .objects import Objects

#: Options and arguments that several commands have.
Output = Literal["text", "json"]
AsOutput = Annotated[Output, typer.Option("--output", "-o", help="As text, or as JSON with every field.")]
Operation = Annotated[
    list[str],
    typer.Argument(metavar="KIND/NAME", help="snapshot/NAME or rollback/NAME; also osnap/NAME, orb/NAME, KIND NAME."),
]
Seconds = Annotated[float | None, typer.Option("--timeout", min=1, help="Most seconds to wait.")]
EnvironmentName = Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="Environment: NAME or oenv/NAME.")]
SnapshotName = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Snapshot: NAME or osnap/NAME.")]
_Count = Annotated[int | None, typer.Option(min=0, max=1000, help="Try this value.")]

CommandT = TypeVar("CommandT", bound=Callable[..., None])


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Options of every command that asks the API server."""

    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace; the default is the context's.")
    ] = None
    context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None
    kubeconfig: Annotated[
        str | None, typer.Option("--kubeconfig", help="Path of the kubeconfig; the default is $KUBECONFIG.")
    ] = None

    def objects(self) -> Objects:
        """The objects of the namespace. Raises CliError."""
        return Objects(self.kubeconfig, self.context, self.namespace)


@dataclasses.dataclass(frozen=True)
class Tried:
    """Options with values to try."""

    retention_days: Annotated[int | None, typer.Option(min=0, max=36500, help="Try this value; 0: no limit.")] = None
    keep_last: _Count = None
    keep_hourly: _Count = None
    keep_daily: _Count = None
    keep_weekly: _Count = None
    keep_monthly: _Count = None
    keep_yearly: _Count = None

    def rules(self) -> dict[str, int]:
        """Fields of the SnapshotPolicy."""
        from pydantic.alias_generators import to_camel

        return {to_camel(name): value for name, value in dataclasses.asdict(self).items() if value is not None}


class Commands(typer.Typer):
    """Commands whose parameters may be groups: dataclasses, each annotated field of which becomes an option, after the
    options of the command itself."""

    def command(self, *arguments: Any, **settings: Any) -> Callable[[CommandT], CommandT]:
        """As that of Typer."""

        def register(command: CommandT) -> CommandT:
            super(Commands, self).command(*arguments, **settings)(_with_options(command))
            return command

        return register


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of its groups in place of them."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()]
    parameters = [p for p in own if p.name not in groups]
    names: dict[str, list[str]] = {}
    for name, group in groups.items():
        options = {n: h for n, h in get_type_hints(group, include_extras=True).items() if get_origin(h) is Annotated}
        names[name] = list(options)
        for field in dataclasses.fields(group):
            if field.name in options:
                option = inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
                parameters.append(option.replace(annotation=options[field.name]))

    @wraps(command)
    def run(**given: Any) -> None:
        made = {name: group(**{n: given.pop(n) for n in names[name]}) for name, group in groups.items()}
        command(**given, **made)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


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
