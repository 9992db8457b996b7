"""What the application's container receives: a folder that both containers of the pod mount.

The container waits for ``ready``, reads ``env``, runs its command and writes the exit code to ``exit``. It never sees
our Secrets: the role in ``pgpass`` is temporary and ends with the block of ``copy_access.opened``.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.text.sentences import shortened_start
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

#: Seconds until the container must run: its image is pulled.
START_SECONDS = 300.0
_POLL = 0.2
#: Characters of the command's output in a message.
_OUTPUT = 600
#: libpq's parameters that the container receives as variables. Certificates are ours.
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}


@dataclass(frozen=True)
class HandOver:
    """The shared folder."""

    folder: Path

    def clear(self) -> None:
        """Of an earlier container of this pod."""
        for name in ("ready", "abort", "exit", "env", "pgpass"):
            (self.folder / name).unlink(missing_ok=True)

    def end(self) -> None:
        """Ends the container, whatever it does. A mover that is killed leaves that to the operator, which deletes the
        Job."""
        (self.folder / "abort").touch()

    def run(self, access: CopyAccess, search_path: str, token: Token, *, start_seconds: float = START_SECONDS) -> None:
        """Hands the credentials over and waits for the command. Raises MoverError NeutralizeFailed."""
        code: int | None = None
        try:
            self._write(access, search_path)
            (self.folder / "ready").touch()
            self._wait_for_start(token, start_seconds)
            while (code := self._exit_code()) is None:
                token.sleep(_POLL)
        finally:
            (self.folder / "pgpass").unlink(missing_ok=True)
        if code != 0:
            raise MoverError(
                conditions.NEUTRALIZE_FAILED,
                f"the command that neutralises the copy ended with exit code {code}: {self._output()}. Correct"
                " spec.neutralize.command or image of the Environment, then create a new Rollback",
            )

    def _write(self, access: CopyAccess, search_path: str) -> None:
        passfile = self.folder / "pgpass"
        passfile.touch(mode=0o600)
        passfile.write_text(access.credentials.passfile_line(), encoding="utf-8")
        params = access.credentials.params
        lines = [f"export {name}={quoted(params[key])}" for key, name in _VARIABLES.items() if params.get(key)]
        lines.append(f"export PGPASSFILE={quoted(str(passfile))}")
        # The temporary role has none of the settings of the application's own role.
        escaped = search_path.replace("\\", "\\\\").replace(" ", "\\ ")
        lines.append(f"export PGOPTIONS={quoted(f'-c search_path={escaped}')}")
        (self.folder / "env").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _wait_for_start(self, token: Token, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not (self.folder / "started").exists():
            if time.monotonic() >= until:
                raise MoverError(
                    conditions.NEUTRALIZE_FAILED,
                    f"the application's container did not start within {seconds:.0f} s; see `kubectl describe pod` of"
                    " the Job: its image must be pullable, run as a user that is not root, and have /bin/sh",
                )
            token.sleep(_POLL)

    def _exit_code(self) -> int | None:
        try:
            text = (self.folder / "exit").read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None

    def _output(self) -> str:
        try:
            text = (self.folder / "output").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            text = ""
        return shortened_start(" ".join(text.split()), _OUTPUT) or "no output"


def quoted(value: str) -> str:
    """A word for /bin/sh."""
    return "'" + value.replace("'", "'\\''") + "'"
