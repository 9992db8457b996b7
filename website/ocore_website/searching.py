"""The search of the site: it replaces the theme's, and questions that must find their page first."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from .pages import Broken

FOLDER = Path(__file__).resolve().parents[1]
#: The script that the theme starts. Another name is another version: its messages may differ from those of search.js.
WORKER = "assets/javascripts/workers/search.c47bb847.min.js"
#: What a reader types → the page whose section must come first.
QUESTIONS = {
    "my rollback failed": "guides/rollback-failed/",
    "which rights does the operator need": "guides/rights/",
    "how much does it cost in S3": "guides/sizing/",
    "delete a namespace": "guides/tenants/",
    "CloudNativePG": "guides/cloudnativepg/",
    "upgrade": "install/",
    "restore without the operator": "guides/by-hand/",
    "Odoo filestore in S3": "guides/odoo/",
    "move to another bucket": "guides/another-bucket/",
    "who can read my backups": "guides/who-can-read/",
    "rotate the database password": "guides/rotate-passwords/",
    "cancel a running backup": "guides/cancel/",
    "restore to another cluster": "recovery/",
    "how long are backups kept": "policies/",
    "snapshot stuck in progress": "questions/",
    "snapshot encryption keys": "guides/encryption/",
    "odoo filestore database consistency": "guides/odoo/",
}


def install(site: Path, modules: Path) -> None:
    """Puts our script, bundled with MiniSearch out of the folder of npm packages, in the place of the theme's. Raises
    Broken."""
    worker = site / WORKER
    if not worker.is_file():
        raise Broken(f"{WORKER} does not exist: try website/search.js in a browser with this version of the theme")
    options = ("--bundle", "--minify", "--format=iife", "--allow-overwrite", "--log-level=warning")
    bundled = subprocess.run(
        [modules / ".bin/esbuild", FOLDER / "search.js", *options, f"--outfile={worker}"],
        env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if bundled.returncode:
        raise Broken(f"The search cannot be bundled: {bundled.stderr.strip()}")
    shutil.copyfile(modules / "minisearch/LICENSE.txt", worker.with_name("minisearch-license.txt"))


def ask(site: Path, questions: list[str]) -> list[list[str]]:
    """The addresses of the first hits of each question, by the script and the index of the built site."""
    run = subprocess.run(
        ["node", FOLDER / "ask.mjs", site, WORKER],
        input=json.dumps(questions), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if run.returncode:
        raise Broken(f"The search cannot be asked: {run.stderr.strip()}")
    found: list[list[str]] = json.loads(run.stdout)
    return found


def unanswered(site: Path, questions: dict[str, str]) -> list[str]:
    """Questions whose first hit is on another page, one line each."""
    hits = zip(questions.items(), ask(site, list(questions)), strict=True)
    return [
        f"the search for {question!r} finds {found[:3]} first, not {page}"
        for (question, page), found in hits
        if not found or found[0].partition("#")[0] != page
    ]
