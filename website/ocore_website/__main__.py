"""Builds the site: one folder for each version, and the list of them."""

import argparse
import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import built, pages, searching

REPOSITORY = Path(__file__).resolve().parents[2]
#: The address of the site leads to the newest release.
REDIRECT = """\
<!doctype html><meta charset="utf-8"><title>ocore-snapshots</title>
<meta http-equiv="refresh" content="0; url={0}/"><a href="{0}/">{0}</a>
"""
#: A version that is no release.
DEVELOPMENT = "dev"


def build(zensical: Path, modules: Path, into: Path, version: str) -> None:
    """Builds `into/version`. Raises Broken with everything that is wrong; the folder is then as before."""
    with tempfile.TemporaryDirectory(prefix="ocore-website-") as folder:
        stage = Path(folder)
        pages.stage(REPOSITORY, stage)
        run = subprocess.run(
            [zensical, "build", "--strict", "--config-file", stage / "zensical.toml"],
            capture_output=True,
            text=True,
            check=False,
            env={"NO_COLOR": "1", "PATH": ""},
        )
        if run.returncode:
            raise pages.Broken(run.stdout + run.stderr)
        site = (stage / "site").resolve()
        searching.install(site, modules)
        if found := [*built.problems(site), *searching.unanswered(site, searching.QUESTIONS)]:
            raise pages.Broken("\n".join(found))
        target = into / version
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(stage / "site", target)
    list_versions(into)


def list_versions(into: Path) -> None:
    """Writes what the menu of versions shows, and where the address of the site leads."""
    names = sorted((f.name for f in into.iterdir() if f.is_dir()), key=_order, reverse=True)
    newest = next((name for name in names if name != DEVELOPMENT), names[0])
    rows = [{"version": n, "title": n, "aliases": ["latest"] if n == newest else []} for n in names]
    (into / "versions.json").write_text(json.dumps(rows, indent=1) + "\n")
    (into / "index.html").write_text(REDIRECT.format(newest))


def _order(version: str) -> tuple[bool, list[int]]:
    release = version != DEVELOPMENT
    return not release, [int(part) for part in re.findall(r"\d+", version)]


def _version(text: str) -> str:
    if text != DEVELOPMENT and not re.fullmatch(r"\d+\.\d+\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text} is not a version such as 1.2.0")
    return text


def serve(folder: Path, port: int) -> None:
    """Serves the folder on loopback until Ctrl-C."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ocore_website", description=__doc__)
    parser.add_argument("--zensical", type=Path, required=True, help="the program that makes HTML")
    parser.add_argument("--modules", type=Path, required=True, help="the npm packages of ui/package-lock.json")
    parser.add_argument("--into", type=Path, required=True, help="folder of all versions")
    parser.add_argument("--version", default=DEVELOPMENT, type=_version, help="a release such as 1.2.0")
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve it on loopback afterwards")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    try:
        build(given.zensical, given.modules, given.into, given.version)
    except pages.Broken as problem:
        sys.exit(str(problem))
    print(f"{given.into / given.version}: built")
    if given.serve is not None:
        serve(given.into, given.serve)


if __name__ == "__main__":
    main()
