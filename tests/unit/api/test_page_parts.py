"""The pure parts of the page of the REST API (ui/src), by the tests in ui/tests, which Node.js runs."""

import os
import subprocess
from pathlib import Path

from support.built import built_page


def test_the_pure_parts_of_the_page(tmp_path: Path) -> None:
    folder = built_page().parent
    tests = sorted((folder / "tests").glob("*.test.ts"))
    subprocess.run(
        ["node_modules/.bin/esbuild", *map(str, tests), "--bundle", "--platform=node", "--format=esm",
         "--jsx=automatic", "--jsx-import-source=preact", "--out-extension:.js=.mjs", f"--outdir={tmp_path}",
         "--log-level=warning"],
        check=True, cwd=folder, timeout=60,
    )  # fmt: skip
    # A time zone whose days are not always 24 hours long.
    done = subprocess.run(
        ["node", "--test", *map(str, tmp_path.glob("*.mjs"))],
        env={**os.environ, "TZ": "Europe/Berlin"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(text.read_text().count("\ntest(") for text in tests)
    assert f"# pass {count}\n" in done.stdout
