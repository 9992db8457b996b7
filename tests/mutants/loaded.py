"""The functions of loaded modules get the code of a changed text, in a fork that keeps the change to itself."""

import ctypes
import gc
import inspect
import json
import os
import resource
import select
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from types import CodeType, FunctionType
from typing import Any

#: Processor seconds for the tests of one change, and the seconds after which they wait for something that never comes:
#: on a busy machine far more than they need.
CPU_SECONDS, SECONDS = 60, 600
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _is_function(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_NEWLOCALS)


def functions(code: CodeType, outermost: int = 0) -> Iterator[tuple[int, CodeType]]:
    """Every function in a module's code, with the first line of the outermost function that it is in."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            is_function = _is_function(inner)
            first = outermost or (inner.co_firstlineno if is_function else 0)
            if is_function:
                yield first, inner
            yield from functions(inner, first)


def loaded_functions() -> dict[str, list[FunctionType]]:
    """The functions that exist, by their file. Also those that the collector does not visit: the tests' conftest.py has
    frozen what their collection made."""
    found: dict[str, list[FunctionType]] = {}
    gc.unfreeze()
    try:
        for each in gc.get_objects():
            if type(each) is FunctionType:
                found.setdefault(each.__code__.co_filename, []).append(each)
    finally:
        gc.freeze()
    return found


def outside(code: CodeType) -> tuple[object, ...]:
    """What a module, or a class, does when it is loaded: all but the code of its functions."""
    constants = [
        repr(each) if not isinstance(each, CodeType) else each.co_qualname if _is_function(each) else outside(each)
        for each in code.co_consts
    ]
    return code.co_code, code.co_exceptiontable, code.co_names, code.co_varnames, *constants


def _by_name(code: CodeType) -> dict[str, list[CodeType]]:
    found: dict[str, list[CodeType]] = {}
    for _, each in functions(code):
        found.setdefault(each.co_qualname, []).append(each)
    return found


def put_in(loaded: Sequence[FunctionType], path: str, before: str, text: str) -> None:
    """Gives the loaded functions of a module the code of a text in the place of that of the text before. Two that
    cannot be told apart stay as they are, and one that the change gave other variables of the function around it."""
    old, new = _by_name(compile(before, path, "exec")), _by_name(compile(text, path, "exec"))
    names = [name for name in old.keys() & new.keys() if len(old[name]) == len(new[name])]
    same = [pair for name in names for pair in zip(old[name], new[name], strict=True)]
    count = Counter((code.co_qualname, code.co_firstlineno) for code, _ in same)
    put = {key: code for was, code in same if count[key := (was.co_qualname, was.co_firstlineno)] == 1}
    for found in loaded:
        code = put.get((found.__code__.co_qualname, found.__code__.co_firstlineno))
        if code is not None and len(code.co_freevars) == len(found.__code__.co_freevars):
            found.__code__ = code


def begin_fork() -> None:
    """A fork is a process group of its own, and ends with the process that started it."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def in_fork(act: Callable[[], Any], seconds: float = SECONDS, cpu_seconds: int = CPU_SECONDS) -> Any:
    """What it returns, which JSON can hold; None where the process ends before."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        begin_fork()
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        try:
            os.write(writing, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    until, answer = monotonic() + seconds, b""
    with os.fdopen(reading, "rb", 0) as stream:
        while select.select([stream], [], [], max(0, until - monotonic()))[0] and (part := stream.read(1 << 16)):
            answer += part
    # Also what it started: with the group's leader not yet waited for, its number is no other group's.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return json.loads(answer or "null")
