"""Which watched namespaces can be read. One that was deleted, or whose Role is gone, is reported and does not stop the
others."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Literal

from ocore_kube.errors import Forbidden

#: How a namespace is read.
Source = Literal["list", "watch"]

#: A namespace; None: the whole cluster.
Namespace = str | None


def title(namespace: Namespace) -> str:
    """For messages."""
    return f"namespace {namespace}" if namespace is not None else "the cluster"


class Access:
    """What the resync and the watches report. All methods belong to the event loop's thread."""

    def __init__(self, namespaces: Sequence[str]) -> None:
        """`namespaces` empty: the whole cluster is watched."""
        self.namespaces: tuple[Namespace, ...] = tuple(namespaces) or (None,)
        self._problems: dict[tuple[Namespace, Source], str] = {}
        self._changed = asyncio.Condition()

    async def report(self, namespace: Namespace, source: Source, problem: str | None) -> None:
        """Sets why the namespace cannot be read; None: it can."""
        if problem is None:
            self._problems.pop((namespace, source), None)
        else:
            self._problems[namespace, source] = problem
        async with self._changed:
            self._changed.notify_all()

    def listed(self, namespace: Namespace) -> bool:
        """Whether the last lists of the namespace succeeded."""
        return (namespace, "list") not in self._problems and (None, "list") not in self._problems

    def watched(self, namespace: Namespace) -> bool:
        """Whether its watches run and have not ended of late."""
        return (namespace, "watch") not in self._problems

    async def wait_listed(self, namespace: Namespace) -> None:
        """Returns once :meth:`listed` is true."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.listed(namespace))

    async def unless_refused(self, namespace: str, work: Awaitable[float | None]) -> float | None:
        """The result of a reconcile. None where it was refused because the namespace's Role is gone: retries would
        never end, and the resync queues the object again once the namespace can be listed. Raises what the work raises
        otherwise."""
        try:
            return await work
        except Forbidden:
            if self.listed(namespace):
                raise
            return None

    def any_listed(self) -> bool:
        """Whether at least one namespace can be read."""
        return any(self.listed(n) for n in self.namespaces)

    def problems(self) -> Iterable[str]:
        """A line for each namespace that cannot be listed or watched, with the cause."""
        for (namespace, source), problem in sorted(self._problems.items(), key=lambda p: (p[0][0] or "", p[0][1])):
            yield f"cannot {source} {title(namespace)}: {problem}"

    def readable(self) -> Iterable[tuple[str, bool]]:
        """Each watched namespace (empty: the whole cluster), and whether it can be listed and watched. From any
        thread."""
        broken = {namespace for namespace, _ in list(self._problems)}
        return ((n or "", n not in broken) for n in self.namespaces)
