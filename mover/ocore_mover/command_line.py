"""The command line of people: the options of each command are the fields of its request (``ocore_crds.commands``), and
are checked by the same model as the document of a Job."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ocore_crds.commands.base import Command
from ocore_crds.commands.parts import Option, Part
from ocore_crds.commands.table import COMMANDS
from ocore_crds.model import Model
from ocore_mover import requests
from ocore_mover.commands.runtime import execute
from ocore_mover.errors import UsageError

app = typer.Typer(
    name="ocore_mover",
    help=(
        "Takes, verifies, restores and switches snapshots. Reports are JSON lines on stdout, logs are on stderr."
        " docs/mover.md shows every command in a shell."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # they print local variables, passwords among them
    add_completion=False,
)


@dataclass(frozen=True)
class Leaf:
    """A field of a request that is one option."""

    #: Where it is in the document.
    path: tuple[str, ...]
    #: Without its leading hyphens.
    name: str
    field: FieldInfo
    #: The field's type, without None.
    type: Any
    #: Title of the part that it belongs to, for the help.
    panel: str | None
    #: Whether the request is not valid without it.
    required: bool

    @property
    def parameter(self) -> inspect.Parameter:
        """For typer. Without the option it is None."""
        names, type_ = [f"--{self.name}"], self.type
        metavar: str | None = None
        origin = get_origin(type_)
        if type_ is bool and self.field.default is True:
            names = [f"--{self.name}/--no-{self.name}"]
        elif self.name == "verbose":
            names.append("-v")
        elif origin in (tuple, dict):
            type_, metavar = list[str], "KEY:VALUE" if origin is dict else "TEXT"
        elif isinstance(type_, type) and issubclass(type_, Model):
            type_, metavar = str, "JSON"
        default = self.field.default
        shown = isinstance(default, (str, int, float)) and default not in ("", False)
        words = (self.field.description, f"Default: {default}." if shown else "", "Required." if self.required else "")
        option = typer.Option(
            *names, help=" ".join(filter(None, words)), show_default=False, rich_help_panel=self.panel, metavar=metavar
        )
        annotation = Annotated[type_ | None, option]  # type: ignore[valid-type]
        return inspect.Parameter(
            self.parameter_name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=None
        )

    @property
    def parameter_name(self) -> str:
        """Of the function that typer calls."""
        return "_".join(self.path)

    def value(self, given: Any) -> Any:
        """What the model takes for the option's value. Raises UsageError."""
        if get_origin(self.type) is dict:
            pairs = [each.partition(":") for each in given]
            if not all(colon for _, colon, _ in pairs):
                raise UsageError(f"--{self.name}: {given[-1]!r} is not KEY:VALUE")
            return {key: value for key, _, value in pairs}
        if isinstance(self.type, type) and issubclass(self.type, Model):
            try:
                return self.type.model_validate_json(given)
            except ValidationError as error:
                found = "; ".join(": ".join((".".join(map(str, at)), text)) for at, text in requests.faults(error))
                raise UsageError(f"--{self.name}: {found}") from error
        return given


def leaves(
    model: type[Model],
    prefix: str = "",
    path: tuple[str, ...] = (),
    panel: str | None = None,
    *,
    required: bool = True,
) -> Iterator[Leaf]:
    """The options of a model and of its parts."""
    for name, field in model.model_fields.items():
        own = next((each.name for each in field.metadata if isinstance(each, Option)), None)
        key, type_ = field.alias or name, _without_none(field.annotation)
        needed = required and field.is_required()
        if isinstance(type_, type) and issubclass(type_, Part):
            title = (inspect.getdoc(type_) or "").splitlines()[0].rstrip(".")
            yield from leaves(type_, prefix + (own or ""), (*path, key), title, required=needed)
        else:
            option = prefix + (own or name.replace("_", "-"))
            yield Leaf((*path, key), option, field, type_, panel, needed)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    (found,) = (each for each in get_args(annotation) if each is not NoneType)
    return found


def _run(row: Command[Any], options: Sequence[Leaf], given: dict[str, Any]) -> int:
    """Builds the request from the options and runs the command. Returns the exit code. Raises UsageError."""
    fields: dict[str, Any] = {}
    for leaf in options:
        value = given[leaf.parameter_name]
        if value is None:
            continue
        place = fields
        for part in leaf.path[:-1]:
            place = place.setdefault(part, {})
        place[leaf.path[-1]] = leaf.value(value)
    try:
        request = row.request.model_validate(fields)
    except ValidationError as error:
        raise UsageError("; ".join(_named(options, *fault) for fault in requests.faults(error))) from error
    return execute(row, request)


def _named(options: Sequence[Leaf], place: tuple[int | str, ...], text: str) -> str:
    """The message, with the option that it is about. Of a part that is missing it is the part's first one."""
    for leaf in options:
        shared = min(len(place), len(leaf.path))
        if place and place[:shared] == leaf.path[:shared]:
            return f"--{leaf.name}: {text}"
    return text


def _command(row: Command[Any]) -> Callable[..., None]:
    options = tuple(leaves(row.request))

    def command(**given: Any) -> None:
        try:
            code = _run(row, options, given)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from error
        raise typer.Exit(code)

    parameters = [leaf.parameter for leaf in options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return command


def _register() -> None:
    for row in COMMANDS.values():
        examples = "\n".join(f"    python -m ocore_mover {row.name} {each}" for each in row.examples)
        app.command(row.name, help=inspect.getdoc(row.request), epilog=f"**Example**\n\n{examples}")(_command(row))


_register()
