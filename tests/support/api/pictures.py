"""Pictures of each view of the page, for the documentation, out of a cluster in which the demo has run:
``python -m support.api.pictures FOLDER`` (`make screenshots`)."""

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Page

from demo_run.kube import Kube, cluster_environment
from demo_run.rest import forwarded
from demo_run.steps import token
from support.api.visitor import chromium, visitor

SIZE = {"width": 1280, "height": 800}
#: Bytes of the largest picture.
MOST = 200_000


def main(folder: Path) -> None:
    """Writes `page-<view>.png` of each view."""
    env = cluster_environment()
    if env is None:
        sys.exit("No cluster is running: run `make demo` first.")
    kube = Kube(env, plain=True)
    bearer = token(kube)
    with forwarded(kube) as api, chromium() as browser:
        url = api.removesuffix("/api")
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {bearer}"}) as client:
            places = _places(client)
        with visitor(browser, url, viewport=SIZE, color_scheme="light") as person:
            person.open()
            person.paste(bearer)
            person.page.get_by_role("button", name="Sign out").wait_for()
            for view, (path, ready) in places.items():
                person.page.evaluate(
                    "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }",
                    path,
                )
                ready(person.page)
                person.page.wait_for_timeout(1000)  # for what the view reads
                picture = folder / f"page-{view}.png"
                person.page.screenshot(path=picture)
                if picture.stat().st_size > MOST:
                    sys.exit(f"{picture} has more than {MOST} bytes: take a smaller part of the view.")


def _heading(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("heading", name=text).first.wait_for()


def _link(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("link", name=text, exact=True).wait_for()


def _preview(page: Page) -> None:
    page.get_by_text("The rollback would run").wait_for(timeout=120_000)


def _places(client: httpx.Client) -> dict[str, tuple[str, Callable[[Page], None]]]:
    """Name of a picture → the path of its view, and what waits until the view is there."""
    rows = client.get("/console/v1/environments").json()["environments"]
    shop = next(row["id"] for row in rows if row["name"] == "shop")
    snapshots = client.get(f"/console/v1/environments/{shop}/snapshots", params={"status": "completed"}).json()
    rollbacks = client.get(f"/api/environments/{shop}/rollback-logs").json()["rollbackLogs"]
    at = f"/ui/environments/{shop}"
    snapshot = f"{at}/snapshots/{snapshots['snapshots'][0]['id']}"
    return {
        "environments": ("/ui/", _link("shop")),
        "environment": (at, _heading("Time")),
        "snapshot": (snapshot, _heading("Restore test")),
        "preview": (f"{snapshot}/rollback", _preview),
        "rollback": (f"{at}/rollbacks/{rollbacks[0]['id']}", _heading("Steps")),
        "settings": (f"{at}/settings", _heading("Settings")),
        "log": (f"{at}/log", _heading("Log")),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
