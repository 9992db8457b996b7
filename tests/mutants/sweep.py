"""Changes every line of the guard modules with cosmic-ray and lists the changes that no test notices (``make mutants``,
not in CI).

Each module is changed in a copy of the tree. The tests run in forks of one process (worker.py), else their start would
take most of the time. cosmic-ray: https://cosmic-ray.readthedocs.io
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants.patches import HERE
from mutants.run import PACKAGES, copy_tree

WORKER = [sys.executable, "-P", str(HERE / "worker.py")]


def configuration(module: str, tests: Sequence[str], seconds: float, socket: Path, excluded: Sequence[str]) -> str:
    """cosmic-ray's configuration for one module."""
    options = ["-q", "-x", "-p", "no:cacheprovider", f"--timeout={seconds / 3:.0f}", "--hypothesis-profile=ci", *tests]
    ask = shlex.join([sys.executable, "-I", "-S", WORKER[-1], "--ask", str(socket), str(seconds), *options])
    # JSON strings are TOML strings.
    return f"""[cosmic-ray]
module-path = {json.dumps(module)}
timeout = {seconds + 30}
excluded-modules = []
test-command = {json.dumps(ask)}
[cosmic-ray.distributor]
name = "local"
[cosmic-ray.filters.operators-filter]
exclude-operators = {json.dumps(list(excluded))}
"""


class Failed(Exception):
    """The tests of a module do not pass without a mutant, or cosmic-ray failed."""


def cosmic_ray(tree: Path, *arguments: str) -> str:
    """What a command of cosmic-ray printed. Raises Failed."""
    program = Path(sys.executable).with_name(arguments[0])
    done = subprocess.run([program, *arguments[1:]], cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def sweep(
    module: str, tests: Sequence[str], seconds: float, excluded: Sequence[str], folder: Path
) -> tuple[int, list[str]]:
    """Number of mutants, and the diffs of those that survive."""
    tree, socket = folder / "tree", folder / "socket"
    copy_tree(HERE.parents[1], tree)
    (folder / "config.toml").write_text(configuration(module, tests, seconds, socket, excluded))
    config, session = str(folder / "config.toml"), str(folder / "session.sqlite")
    packages = os.pathsep.join(str(tree / p) for p in (*PACKAGES, "tests"))
    environment = {**os.environ, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}
    worker = subprocess.Popen([*WORKER, "--listen", str(socket)], cwd=tree, env=environment)
    try:
        until = time.monotonic() + 120
        while not socket.exists():
            if worker.poll() is not None or time.monotonic() > until:
                raise Failed("the process that runs the tests does not start")
            time.sleep(0.1)
        cosmic_ray(tree, "cosmic-ray", "baseline", config)
        cosmic_ray(tree, "cosmic-ray", "init", config, session)
        cosmic_ray(tree, "cr-filter-operators", session, config)
        cosmic_ray(tree, "cosmic-ray", "exec", config, session)
        lines = cosmic_ray(tree, "cosmic-ray", "dump", session).splitlines()
    finally:
        worker.kill()
        worker.wait()
    count, survivors = 0, []
    for item, result in map(json.loads, lines):
        if result is None or result["worker_outcome"] == "skipped":
            continue
        count += 1
        if result["test_outcome"] == "survived":
            where = item["mutations"][0]
            survivors.append(
                f"{module}:{where['start_pos'][0]}  {where['operator_name']}\n{changed_lines(result['diff'])}"
            )
        elif result["test_outcome"] == "incompetent":
            raise Failed(f"{module}: {result['output']}")
    return count, survivors


def changed_lines(diff: str | None) -> str:
    """The removed and the added lines."""
    lines = (diff or "").splitlines()
    return "\n".join(f"    {line}" for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---")))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="as in sweep.toml, or the end of it; none: all")
    options = parser.parse_args()
    settings = tomllib.loads((HERE / "sweep.toml").read_text(encoding="utf-8"))
    chosen = {m: t for m, t in settings["modules"].items() if not options.modules or m.endswith(tuple(options.modules))}
    if not chosen:
        print(f"no such module in sweep.toml: {options.modules}")
        return 2
    table = []
    for module, tests in chosen.items():
        since = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="ocore-sweep-") as folder:
                count, survivors = sweep(
                    module, tests, settings["seconds"], settings["excluded-operators"], Path(folder)
                )
        except Failed as error:
            print(f"{module}: {error}", flush=True)
            return 1
        print(*survivors, sep="\n", flush=True)
        table.append(f"{count:>8} {len(survivors):>10} {time.monotonic() - since:>8.0f}  {module}")
    print(f"{'mutants':>8} {'survivors':>10} {'seconds':>8}  module", *table, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
