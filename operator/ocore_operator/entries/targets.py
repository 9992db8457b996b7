"""Two Environments with one database or one filestore: a rollback of one would replace what the other one runs on.

Only Environments of one namespace count against each other. What a probe says of a server is chosen by who writes the
Secret: it may name any database of the server, or another server that lies. So an Environment of another namespace is
mentioned, and prevents nothing. Pure.
"""

from collections.abc import Iterable, Iterator

from ocore_crds.resources import layouts
from ocore_operator.entries.environments import EnvironmentEntry, Target
from ocore_operator.kube.resources import Key


def of_cluster(cluster: str, database: str | None) -> str:
    """What :class:`Target` has as its cluster."""
    return f"{cluster}/{database}" if database else cluster


def shared(mine: Target, other: Target) -> str:
    """What both of one namespace have, for people; empty where they share nothing. Until both were probed since the
    server's start, the same Secret still shows it."""
    if mine.secret and mine.secret == other.secret:
        return f"the database of Secret {mine.secret}"
    if mine.cluster and mine.cluster == other.cluster:
        return f"the database of Cluster {mine.cluster}"
    if _same_database(mine, other):
        return f"database {mine.database}, by the server's system identifier and start {mine.server}"
    if mine.claim and mine.claim == other.claim and _overlap(mine, other):
        return f"claim {mine.claim}, path {mine.path or '(root)'}"
    return ""


def _same_database(mine: Target, other: Target) -> bool:
    """A server is known by its system identifier and its start: a clone of it has the identifier, and its databases'
    names, but not the start."""
    return bool(mine.server) and (mine.server, mine.database) == (other.server, other.database)


def _overlap(one: Target, two: Target) -> bool:
    """Whether the paths are the same, or one is below the other and the outer one is replaced whole."""
    if one.path == two.path:
        return True
    outer, inner = sorted((one, two), key=lambda t: len(t.path))
    return outer.layout in layouts.RENAMED and inner.path.startswith(f"{outer.path}/")


def sharing(every: Iterable[EnvironmentEntry], key: Key, target: Target) -> Iterator[tuple[EnvironmentEntry, str]]:
    """Other Environments of the namespace that share something with this target, and what."""
    for other in every:
        if other.key == key or other.key.namespace != key.namespace:
            continue
        what = shared(target, other.target)
        if what:
            yield other, what


def is_elsewhere(every: Iterable[EnvironmentEntry], key: Key, target: Target) -> bool:
    """Whether an Environment of another namespace says that it has the same database."""
    return any(e.key.namespace != key.namespace and _same_database(target, e.target) for e in every)


def first(every: Iterable[EnvironmentEntry], key: Key, target: Target) -> tuple[EnvironmentEntry, str] | None:
    """The oldest other Environment that shares something and was created before this one, and what they share; None
    where this one is the first."""
    known = tuple(every)
    mine = next((e for e in known if e.key == key), None)
    older = [(e, what) for e, what in sharing(known, key, target) if mine is not None and e.age_order < mine.age_order]
    return min(older, key=lambda pair: pair[0].age_order, default=None)
