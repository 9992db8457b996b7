"""Processes that ended by SIGKILL, as the kubelet reports them: the proof that a failpoint with the action `kill`
fired, or that memory ran out."""

import threading
from collections import Counter
from collections.abc import Iterator
from types import TracebackType

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ocore_crds.naming import LABEL_COMMAND, LABEL_MANAGED_BY, LABEL_UID, MANAGED_BY

from .cluster import Cluster, Object, wait_for

#: Exit code of a container whose first process ended by SIGKILL.
KILLED = 137


class Deaths:
    """The movers that are killed in a namespace while this is open. A watch in a thread: the pods may be deleted at any
    time."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Uid of the pod and number of its container → uid of the object that it worked for, and the command.
        self._killed: dict[tuple[str, int], tuple[str, str]] = {}
        #: Uid of the pod → uid of the object that it worked for.
        self._out_of_memory: dict[str, str] = {}

    def __enter__(self) -> "Deaths":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(20)

    def out_of_memory(self, obj: Object, times: int) -> None:
        """Fails unless the kernel has killed a process in this many pods of the object because their memory's limit was
        reached."""
        uid = obj["metadata"]["uid"]
        wait_for(
            f"{times} pods of {obj['metadata']['name']} out of memory",
            lambda: list(self._out_of_memory.values()).count(uid) == times,
            15,
        )

    def fired(self, obj: Object, times: int = 1) -> None:
        """Fails where fewer containers of the object were killed. Nothing but the failpoints that the object arms kills
        them, and each of those fires once in an attempt."""
        wait_for(
            f"{times} containers of {obj['metadata']['name']} killed at the failpoint",
            lambda: self.times(obj) >= times,
            15,
        )

    def times(self, obj: Object) -> int:
        """How many containers of the object were killed so far."""
        return [of for of, _ in self._killed.values()].count(obj["metadata"]["uid"])

    def fired_in(self, obj: Object, wanted: dict[str, int]) -> None:
        """The same of an object that arms failpoints of several commands. `wanted`: how many in each of them."""
        uid = obj["metadata"]["uid"]

        def all_of_them() -> bool:
            found = Counter(command for of, command in self._killed.values() if of == uid)
            assert found == wanted
            return True

        wait_for(f"containers of {obj['metadata']['name']} killed at each failpoint", all_of_them, 15)

    def _run(self) -> None:
        version: str | None = None
        while not self._stop.is_set():
            try:
                if version is None:
                    version = self._list()
                for event in self._watch(version):
                    version = event["metadata"]["resourceVersion"]
                    self._note(event)
            except (ApiException, HTTPError, OSError):
                version = None
                self._stop.wait(0.2)

    def _list(self) -> str:
        found = self._cluster.resource("Pod").get(namespace=self._namespace, label_selector=self._selector).to_dict()
        for pod in found["items"]:
            self._note(pod)
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> Iterator[Object]:
        pods = self._cluster.resource("Pod")
        for event in self._cluster.dynamic.watch(
            pods, self._namespace, label_selector=self._selector, resource_version=version, timeout=5
        ):
            yield event["raw_object"]

    @property
    def _selector(self) -> str:
        return f"{LABEL_MANAGED_BY}={MANAGED_BY}"

    def _note(self, pod: Object) -> None:
        uid, labels = pod["metadata"]["uid"], pod["metadata"]["labels"]
        for status in pod.get("status", {}).get("containerStatuses") or []:
            restarts = status.get("restartCount", 0)
            # The kubelet starts a switch's container again: the state of the one before may never be seen otherwise.
            for number, state in ((restarts, status.get("state")), (restarts - 1, status.get("lastState"))):
                ended = (state or {}).get("terminated") or {}
                if ended.get("reason") == "OOMKilled":
                    self._out_of_memory[uid] = labels[LABEL_UID]
                elif ended.get("exitCode") == KILLED:
                    self._killed[uid, number] = (labels[LABEL_UID], labels[LABEL_COMMAND])
