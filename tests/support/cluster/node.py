"""The cluster's node, as an administrator on it sees it: processes by their ids, and the network of one pod."""

import subprocess
from pathlib import Path

from .cluster import REPOSITORY, Cluster, Object, wait_for

#: Ids of the processes whose control group is the pod's and whose command line has the pattern.
_OF_POD = 'for p in $(pgrep -f -- "$2"); do grep -q "$1" "/proc/$p/cgroup" 2>/dev/null && echo "$p"; done; true'


def run(script: str, *arguments: str, timeout: float = 30) -> str:
    """The stdout of a bash script inside the node; its arguments are $1, $2 …"""
    done = subprocess.run(
        [str(REPOSITORY / "localcluster/cluster"), "exec", "--", "bash", "-c", script, "bash", *arguments],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"in the node: {script}: {done.stderr}"
    return done.stdout


def harm(command: str, node: str) -> None:
    """`kill`, `cut` or `repair` of localcluster/cluster, for that node of several."""
    done = subprocess.run(
        [str(REPOSITORY / "localcluster/cluster"), command, node],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def processes(pod: Object, pattern: str) -> list[int]:
    """Ids (in the node) of the pod's processes whose command line matches."""
    return [int(line) for line in run(_OF_POD, pod["metadata"]["uid"], pattern).split()]


def signal(pids: list[int], name: str) -> None:
    """Sends a signal to processes; a process that has ended is no error."""
    run(f"kill -{name} {' '.join(map(str, pids))} 2>/dev/null; true")


def kill(pod: Object, pattern: str) -> None:
    """`kill -9` of the pod's processes whose command line matches, at once; fails where there is none."""
    run(f"pids=$({_OF_POD}) && kill -9 $pids", pod["metadata"]["uid"], pattern)


def kill_component(name: str) -> None:
    """`kill -9` of one of the node's own components (kubelet, kube-apiserver); the node starts it again."""
    before = component(name)
    signal([before], "KILL")
    wait_for(f"{name} started again", lambda: component(name) not in (0, before))


def component(name: str) -> int:
    """Process id of one of the node's own components; 0 while it does not run."""
    found = run('pgrep -x -- "${1:0:15}" | head -1', name).split()
    return int(found[0]) if found else 0


def claim_folder(cluster: Cluster, claim: str, namespace: str) -> Path:
    """The folder of a claim's volume on the node, as this machine sees it: a pod that only reads it costs a second of
    processor time."""
    found = cluster.get("PersistentVolumeClaim", claim, namespace)
    assert found is not None
    volume = cluster.get("PersistentVolume", found["spec"]["volumeName"])
    assert volume is not None
    attached = volume["spec"].get("csi")  # the driver of a local cluster of two nodes
    if attached:
        return Path(f"/proc/{cluster.env['OCORE_NODE_PID']}/root/state/disks/{attached['volumeHandle']}")
    source = volume["spec"].get("local") or volume["spec"]["hostPath"]
    return Path(f"/proc/{cluster.env['OCORE_NODE_PID']}/root{source['path']}")


class PodNetwork:
    """Faults in the network of one pod, between it and one address. Everything is taken back at the end of the
    `with`."""

    def __init__(self, pod: Object, address: str) -> None:
        self._address = address
        # The sandbox's process: it outlives the containers.
        (self._pid,) = processes(pod, "^/?[^ ]*pause")

    def __enter__(self) -> "PodNetwork":
        return self

    def __exit__(self, *_: object) -> None:
        self._inside("nft delete table inet faults 2>/dev/null; true")

    def connections(self) -> list[str]:
        """Local ports of the connections that stand."""
        command = f"ss -Htn state established dst {self._address} | awk '{{ print $3 }}' | sed 's/.*://'"
        return self._inside(command).split()

    def cut(self) -> None:
        """Breaks every connection; the pod's side gets a reset."""
        before = self.connections()
        assert before, f"no connection to {self._address}"
        self._inside(f"ss -K dst {self._address} >/dev/null 2>&1; true")
        left = set(before) & set(self.connections())
        assert not left, f"not cut: {left}"

    def half_open(self) -> None:
        """From now on nothing passes on the connections that stand, and neither side is informed; new ones work."""
        ports = self.connections()
        assert ports, f"no connection to {self._address}"
        among = f"{{ {', '.join(ports)} }}"
        self._inside(
            "nft add table inet faults && "
            "nft 'add chain inet faults out { type filter hook output priority 0; }' && "
            "nft 'add chain inet faults in { type filter hook input priority 0; }' && "
            f"nft 'add rule inet faults out ip daddr {self._address} tcp sport {among} drop' && "
            f"nft 'add rule inet faults in ip saddr {self._address} tcp dport {among} drop'"
        )

    def block(self) -> None:
        """Breaks every connection; from now on the pod does not reach the address."""
        self._inside(
            "nft add table inet faults && "
            "nft 'add chain inet faults out { type filter hook output priority 0; }' && "
            f"nft 'add rule inet faults out ip daddr {self._address} drop'"
        )
        self.cut()

    def allow_only(self, port: int) -> None:
        """From now on the pod reaches that port of the address, and names, and nothing else. What it sends elsewhere
        gets no answer."""
        self._inside(
            "nft add table inet faults && "
            "nft 'add chain inet faults out { type filter hook output priority 0; policy drop; }' && "
            "nft 'add rule inet faults out oif lo accept' && "
            f"nft 'add rule inet faults out ip daddr {self._address} tcp dport {port} accept' && "
            "nft 'add rule inet faults out udp dport 53 accept'"
        )

    def _inside(self, command: str) -> str:
        return run(f'nsenter -t {self._pid} -n bash -c "$1"', command)
