"""Which requests to the API server a program makes, derived from its code.

1. What a method of a client requests is recorded: each method is called once with a transport that only records.
2. Of which type it is requested is read in the source, at each call of such a method. A type that is a parameter is
   followed to the callers. A call whose type stays unknown is an error: its rights would be compared by no one.
"""

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocore_crds.kinds import KINDS, Kind
from ocore_kube import types
from ocore_kube.transport import APPLY_PATCH
from ocore_kube.types import Type

#: API group, resource with its subresource, verb.
Verb = tuple[str, str, str]
#: Stands for the type that a method is called with.
ANY = Type("example.org/v1", "things", "Thing")
#: A kind of the chart's value workloads.kinds, as the templates name it without Helm (test_verbs.rules).
LISTED = Type("x/v1", "x", "X")
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class UnknownTypeError(AssertionError):
    """A call of a client whose type the source does not show. Write it so that it does."""


# --- what a method requests -------------------------------------------------------------------------------------------


class Recorder:
    """A transport that answers everything, and records the verbs."""

    def __init__(self) -> None:
        self.verbs: set[Verb] = set()

    async def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """As ocore_kube.transport.Transport.request."""
        if path.count("/") == 3:  # /apis/GROUP/VERSION: every account may read it (system:discovery)
            return {}
        group, resource, named = _parts(path)
        self.verbs.add((group, resource, VERBS.get(method) or ("get" if named else "list")))
        meta = (options.get("body") or {}).get("metadata") or {}
        if options.get("content_type") == APPLY_PATCH and "resourceVersion" not in meta and "/" not in resource:
            self.verbs.add((group, resource, "create"))  # an apply creates what does not exist
        return {"metadata": {}, "items": []}

    async def lines(self, path: str, *, query: Mapping[str, str], **_: Any) -> AsyncIterator[str]:
        """As ocore_kube.transport.Transport.lines, of a log or a watch."""
        group, resource, _named = _parts(path)
        self.verbs.add((group, resource, "watch" if "watch" in query else "get"))
        return
        yield ""


def _parts(path: str) -> tuple[str, str, bool]:
    """Group, resource with its subresource, and whether an object is named."""
    _, root, *parts = path.split("/")
    group = "" if root == "api" else parts.pop(0)
    parts.pop(0)  # the version
    if parts[0] == "namespaces" and len(parts) > 2:
        del parts[:2]
    plural, name, *subresource = [*parts, ""] if len(parts) == 1 else parts
    return group, "/".join((plural, *subresource)), bool(name)


class Sample(dict[str, Any]):
    """An object, as JSON and as what the programs parse it to."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(metadata={"namespace": "a", "name": "b", "uid": "u", "resourceVersion": "1"}, spec={})
        self.namespace, self.name, self.resource_version, self.kind, self.meta = "a", "b", "1", kind, self


#: Name of a parameter → what it gets.
SAMPLES: Mapping[str, Any] = {
    "type_": ANY, "namespace": "a", "name": "b", "pod": "b", "uid": "u", "labels": "a=b", "keep": bool, "spec": {},
    "patch": {}, "status": {}, "fields": {}, "conditions": [], "finalizers": [], "replicas": 1, "resource_version": "1",
    "annotations": {}, "api_version": "apps/v1", "metadata": {"namespace": "a", "name": "b"}, "given": {},
    "seconds": 1.0,
}  # fmt: skip


def methods(client: type, *more: Any) -> dict[str, frozenset[Verb]]:
    """Method of the client → what it requests, of ANY where it takes a type. `more`: further arguments of the
    client."""
    return {
        name: frozenset(verb for kind in KINDS for verb in asyncio.run(_recorded(client, more, name, kind)))
        for name, method in vars(client).items()
        if not name.startswith("_") and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    }


async def _recorded(client: Callable[..., Any], more: Iterable[Any], name: str, kind: Kind) -> set[Verb]:
    recorder = Recorder()
    method = getattr(client(recorder, *more), name)
    samples = {**SAMPLES, "obj": Sample(kind), "live": Sample(kind)}
    wanted = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    positional = [samples[p.name] for p in wanted if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: samples[p.name] for p in wanted if p.kind is p.KEYWORD_ONLY}
    called = method(*positional, **keywords)
    if inspect.isasyncgenfunction(method):
        async for _ in called:
            pass
    else:
        await called
    return recorder.verbs


# --- of which types ---------------------------------------------------------------------------------------------------


Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Call:
    """A call in the source: its module, and the functions around it, the innermost one last."""

    module: str
    node: ast.Call
    around: tuple[Function, ...]

    @property
    def name(self) -> str:
        """Of what is called."""
        return getattr(self.node.func, "attr", "") or getattr(self.node.func, "id", "")

    @property
    def receiver(self) -> str:
        """What the method is called of; empty for a function."""
        return ast.unparse(self.node.func.value) if isinstance(self.node.func, ast.Attribute) else ""

    @property
    def place(self) -> str:
        """For a message."""
        return f"{self.module}:{self.node.lineno}: {ast.unparse(self.node)}"

    def argument(self, place: int, name: str) -> ast.expr | None:
        """By place or by name."""
        keywords = {k.arg: k.value for k in self.node.keywords}
        return self.node.args[place] if len(self.node.args) > place else keywords.get(name)


def sources(folder: Path) -> dict[str, str]:
    """Path below the folder → text of each module."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}


class Program:
    """The calls of a program's modules. `receivers`: how the expressions end that are its client."""

    def __init__(self, modules: Mapping[str, str], client: type, receivers: tuple[str, ...], *more: Any) -> None:
        self.calls = [call for name, text in modules.items() for call in _calls(name, ast.parse(text))]
        self._receivers = receivers
        self._methods = methods(client, *more)
        self._places = {name: _place_of_type(getattr(client, name)) for name in self._methods}

    def verbs(self) -> set[Verb]:
        """What the program requests by its client. Raises UnknownTypeError."""
        return {verb for call in self.calls if call.name in self._methods for verb in self._of(call)}

    def constructed(self, name: str) -> set[Type]:
        """The types that are the first argument of each call of that name."""
        return {each for call in self.calls if call.name == name for each in self.types(call.node.args[0], call)}

    def _of(self, call: Call) -> Iterator[Verb]:
        place = self._places[call.name]
        ours = call.receiver.endswith(self._receivers)
        if place is None:
            yield from self._methods[call.name] if ours else ()
            return
        argument = call.argument(place, "type_")
        if argument is None or not (ours or _constant(argument)):
            return  # of a dictionary, for example
        subresource = call.argument(99, "subresource")
        for type_ in self.types(argument, call):
            for _, resource, verb in self._methods[call.name]:
                below = ("/" + ast.literal_eval(subresource)) if subresource else resource.removeprefix(ANY.plural)
                yield type_.api_version.rpartition("/")[0], type_.plural + below, verb

    def types(self, node: ast.expr, call: Call) -> set[Type]:
        """The types that an expression may have at a call. Raises UnknownTypeError."""
        found = _constant(node)
        if found:
            return found
        if (
            isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "listed"
        ):  # jobs/scalable_kinds.py
            return {LISTED}
        if isinstance(node, ast.Attribute) and node.attr == "type":  # a row of engine/kinds.py, or writes/creation.py
            return self.constructed("Reconciler") | self.constructed("Creation")
        if isinstance(node, ast.Name):
            for function in reversed(call.around):
                if node.id in _parameters(function):
                    return self._given(function, node.id, call)
                for each in ast.walk(function):
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == node.id:
                        return self.types(each.value, call)
        raise UnknownTypeError(f"{call.place}: the type {ast.unparse(node)} is not known")

    def _given(self, function: Function, name: str, call: Call) -> set[Type]:
        """The types that all callers of a function give. One with a leading underscore is called in its module only."""
        place = [p for p in _parameters(function) if p != "self"].index(name)
        callers = [
            each
            for each in self.calls
            if each.name == function.name and (each.module == call.module or not function.name.startswith("_"))
            if function not in each.around  # it calls itself
        ]
        given = [(each.argument(place, name), each) for each in callers]
        if not given or any(argument is None for argument, _ in given):
            raise UnknownTypeError(f"{call.place}: no caller gives {name} to {function.name}")
        return {each for argument, at in given if argument is not None for each in self.types(argument, at)}


def _constant(node: ast.expr) -> set[Type]:
    """The types that an expression names; none where it is a variable."""
    if isinstance(node, ast.Subscript):
        table = getattr(types, getattr(node.value, "id", "") or getattr(node.value, "attr", ""), None)
        return {*table.values()} if isinstance(table, dict) else set()
    found = getattr(types, getattr(node, "id", "") or getattr(node, "attr", ""), None)
    return {found} if isinstance(found, Type) else set()


def _parameters(function: Function) -> list[str]:
    given = function.args
    return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _place_of_type(method: Callable[..., Any]) -> int | None:
    names = [*inspect.signature(method).parameters]
    return names.index("type_") - 1 if "type_" in names else None


def _calls(module: str, node: ast.AST, around: tuple[Function, ...] = ()) -> Iterator[Call]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield Call(module, child, around)
        inside = (*around, child) if isinstance(child, Function) else around
        yield from _calls(module, child, inside)
