"""Work as another user: the tests run as root."""

import os
import traceback
from pathlib import Path


def in_child(uid: int, work: object) -> str:
    """Runs in a process of another user; its answer as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writer, repr(work()).encode())  # type: ignore[operator]
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def open_to_others(tmp_path: Path) -> None:
    """Lets other users enter the folder of a test."""
    for parent in tmp_path.parents[:5]:
        # popen: of a worker of pytest-xdist; ocore-mutants: of tests/mutants/run.py
        if parent.name.startswith(("pytest", "popen", "ocore-mutants")):
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
