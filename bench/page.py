"""Figures of the page in Debian's Chromium: fleets of 200 and of 1,000 environments with 20,000 snapshots, of which one
environment has 10,000.

Run by `make bench`. The facade is a process of its own with the program's edge, routes and limits; its watch cache is
fed in memory. First view and scrolling are measured with the browser's own clock. Then, with the largest fleet, changes
of all kinds arrive while the page goes through its views: neither the page nor the facade may grow.
"""

import argparse
import asyncio
import gc
import io
import itertools
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import uvloop
from figures import Figure, limit, report
from memory import rss
from playwright.sync_api import Browser, Page, ViewportSize

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.facade import Facade
from ocore_api.http import page_files
from ocore_api.http.audit import Audit
from ocore_api.http.server import Server
from ocore_api.main import create_app, running
from ocore_api.settings import Settings
from ocore_kube import logs
from support.api import objects
from support.api.issuer import AUDIENCE, ISSUER, Issuer
from support.api.visitor import Visitor, chromium, visitor
from support.built import built_page

MIB = 1024 * 1024
#: Rows of environments that the first view shows on a screen of a laptop.
FIRST = 25
#: Screens that a fleet of 200 may be high; kB of the page's files, as the facade sends them.
SCREENS, BYTES = 12, 80
LAPTOP: ViewportSize = {"width": 1440, "height": 900}
#: Seconds that one view stays open during the stream.
VISIT = 15.0
#: Seconds between two snapshots of an environment.
HOUR = 3600.0
#: Measures in the page, with its clock: the longest frame, the longest task, the time from the newest click until
#: something is painted.
MEASURES = """
const bench = (window.bench = { frame: 0, task: 0, clicked: 0 });
new PerformanceObserver((found) => {
  for (const { duration } of found.getEntries()) bench.task = Math.max(bench.task, duration);
}).observe({ type: "longtask" });
addEventListener("click", ({ timeStamp }) => (bench.clicked = timeStamp), { capture: true });
let last = 0;
const frame = (now) => {
  if (last) bench.frame = Math.max(bench.frame, now - last);
  last = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
bench.await = (done) => (bench.painted = new Promise((resolve) => {
  const look = () => done()
    ? requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - bench.clicked)))
    : requestAnimationFrame(look);
  look();
}));
"""
#: All rows of the first view.
ENVIRONMENTS = f"() => document.querySelectorAll('[aria-label=Environments] .body a').length >= {FIRST}"
ONE = "() => document.querySelectorAll('[aria-label=Environments] .body a').length === 1"
HEIGHT = "() => document.documentElement.scrollHeight / innerHeight"
#: The axis of time with its marks; nothing is still being read.
ENVIRONMENT = """() => Number(document.querySelector("[role=slider]")?.ariaValueMax)
  && !document.querySelector("main").textContent.includes("Loading …")"""
SNAPSHOTS = "() => document.querySelector('[role=table] a')"
AT_END = "() => innerHeight + scrollY >= document.documentElement.scrollHeight - 2"
GO = "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"


# --- the facade ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Place:
    """An environment."""

    name: str
    id: str
    source: objects.Object

    @classmethod
    def of(cls, number: int) -> "Place":
        """The first one is the largest."""
        name, id_ = f"shop-{number:03}", objects.uid_of(f"environment {number}")
        return cls(name, id_, objects.source(id_, name=name))


def environment(place: Place, message: str = "", **status: Any) -> objects.Object:
    """One in ten cannot take snapshots: it has a problem and the commands that fix it."""
    number = int(place.name[-3:])
    bad = number % 10 == 5
    conditions = [
        objects.condition("Ready", "False" if bad else "True", "MissingGrants" if bad else "Succeeded", message),
        objects.condition("RollbackReady"),
    ]
    sizes = {"databaseBytes": 2_000_000_000, "filestoreBytes": 5_000_000_000, "filestoreFiles": 40_000}
    known = {"conditions": conditions, "sizes": {**sizes, "measuredAt": objects.at(0)}, **status}
    return objects.environment(place.name, place.id, type_="production" if number % 2 else "staging", status=known)


def initial(environments: int, snapshots: int, largest: int) -> Iterator[objects.Object]:
    """All objects, each environment with a snapshot an hour until now."""
    now = (datetime.now(UTC) - objects.BEGIN).total_seconds()
    for number in range(environments):
        place = Place.of(number)
        yield environment(place)
        rules = {"keepHourly": 48, "keepDaily": 30, "keepWeekly": 12, "schedule": ["0 * * * *"]}
        yield objects.obj("SnapshotPolicy", place.name, {"environmentRef": {"name": place.name}, **rules})
        count = largest if number == 0 else (snapshots - largest) // (environments - 1)
        for age in range(count):
            spec = {"environmentRef": {"name": place.name}, "trigger": "Scheduled"}
            yield objects.complete(f"{place.name}-{age}", spec, of=place.source, created=now - HOUR * (age + 1))


def story(place: Place) -> Iterator[objects.Object | tuple[str, str]]:
    """Changes of all kinds of one environment, over and over: a snapshot, a preview, a rollback and an extract run,
    end, and are removed (kind and name)."""
    for round_ in itertools.count():
        name = f"{place.name}-now-{round_}"
        of, spec = place.source, {"environmentRef": {"name": place.name}}
        back = {"snapshotRef": {"name": name}, "targetEnvironmentRef": {"name": place.name}}
        now = (datetime.now(UTC) - objects.BEGIN).total_seconds()
        lock = {"operation": {"kind": "Snapshot", "name": name, "uid": objects.uid_of(name), "since": objects.at(now)}}
        known = {"environmentId": place.id, "environmentName": place.name, "snapshotName": name}
        yield environment(place, f"round {round_}", **lock)
        for percent in (1, 50, 90):
            yield objects.running(name, percent, spec=spec, of=of, created=now)
        yield objects.complete(name, spec, of=of, created=now)
        yield environment(place, f"round {round_}, with a snapshot")
        report = {"createdAt": objects.at(now), "wouldRun": True, "lostMinutes": 3.5}
        ended = {**known, "phase": "Previewed", "preview": report}
        yield objects.rolled_back(f"{name}-p", {**back, "dryRun": True}, status=ended, created=now)
        for phase in ("Restoring", "Complete"):
            yield objects.rolled_back(f"{name}-r", back, status={**known, "phase": phase}, created=now)
        for phase in ("Running", "Complete"):
            yield objects.extract(f"{name}-e", name, {**known, "id": objects.uid_of(name), "phase": phase}, created=now)
        yield "Extract", f"{name}-e"
        yield "Rollback", f"{name}-p"
        yield "Rollback", f"{name}-r"
        yield "Snapshot", name


async def change(cache: Cache, environments: int, rate: float) -> None:
    """So many changes a second: every second one of the largest environment, the others in turn."""
    stories = [story(Place.of(number)) for number in range(environments)]
    turn = itertools.cycle(range(1, environments))
    for number in itertools.count():
        found = next(stories[0 if number % 2 else next(turn)])
        if isinstance(found, tuple):
            cache.store.remove(found[0], "apps", found[1])
        else:
            # Above the versions of the beginning, which are 1.
            found["metadata"]["resourceVersion"] = str(number + 2)
            cache.store.put(found["kind"], found)
        await asyncio.sleep(1 / rate)


async def serve(folder: Path, options: argparse.Namespace) -> None:
    """Serves, and does what is asked on stdin: `memory` prints it, `change` begins the changes."""
    logs.configure("WARNING")
    issuer = Issuer()
    settings = Settings(
        jwt_issuer=ISSUER,
        jwt_audience=(AUDIENCE,),
        jwks_file=issuer.write_jwks(folder),
        http_host="127.0.0.1",
        http_port=0,
        ui=True,
        ui_folder=options.serve,
    )
    cache = Cache()
    (environments,) = options.environments
    for found in initial(environments, options.snapshots, options.largest):
        cache.store.put(found["kind"], found)
    facade = Facade(
        settings=settings, authenticator=Authenticator(settings), cache=cache, client=None, audit=Audit(io.StringIO())
    )
    server = Server(create_app(facade), settings, facade.stop)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    changing: asyncio.Task[None] | None = None
    async with running(facade):
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([listener]))
        token = issuer.token("reader", projects=(objects.PROJECT,), lifetime=options.stream_seconds + HOUR)
        print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}", "token": token}), flush=True)
        while line := (await lines.readline()).decode().strip():
            if line == "memory":
                gc.collect()
                print(json.dumps({"rss": rss()}), flush=True)
            elif line == "change":
                changing = asyncio.create_task(change(cache, environments, options.rate))
        if changing is not None:
            changing.cancel()
        server.should_exit = True
        await serving
    await facade.authenticator.close()


class Site:
    """The facade's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        begun = json.loads(self._out.readline())
        self.url: str = begun["url"]
        self.token: str = begun["token"]

    def memory(self) -> int:
        """Bytes of it in memory."""
        self.ask("memory")
        return int(json.loads(self._out.readline())["rss"])

    def ask(self, what: str) -> None:
        """See `serve`."""
        self._in.write(f"{what}\n")
        self._in.flush()


@contextmanager
def site(built: Path, options: argparse.Namespace, environments: int) -> Iterator[Site]:
    """A facade with so many, until the end of the block."""
    given = ("snapshots", "largest", "rate", "stream_seconds")
    arguments = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in given]
    arguments.append(f"--environments={environments}")
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", str(built), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Site(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


# --- the page -----------------------------------------------------------------------------------------------
def painted(page: Page, done: str, click: Any) -> float:
    """Milliseconds from a click until what it leads to is painted."""
    page.evaluate(f"() => void bench.await({done})")
    click()
    return float(page.evaluate("() => bench.painted"))


def first_view(person: Visitor, token: str) -> float:
    """From the click that signs in to all rows of the first view."""
    person.open("/ui/")
    person.page.get_by_label("Access token").fill(token)
    return painted(person.page, ENVIRONMENTS, person.page.get_by_role("button", name="Sign in with this token").click)


@dataclass
class Longest:
    """Milliseconds: the longest frame, the longest task (0: none above 50), the most processor time of a task. On a
    busy machine only the last one is the page's own."""

    frame: float
    task: float
    processor: float


def compressed(built: Path) -> int:
    """Bytes of what the first view loads: page, script, style."""
    return sum(len(file.compressed) for name, file in page_files.read(built).items() if not name.endswith("txt"))


def processor_time(trace: bytes) -> float:
    """The most that a task of the page's main thread took, in milliseconds."""
    events = json.loads(trace)["traceEvents"]
    names = ((e["pid"], e["tid"], e["args"]["name"]) for e in events if e["name"] == "thread_name")
    main = {(pid, tid) for pid, tid, name in names if name == "CrRendererMain"}
    return float(max(e.get("tdur", 0) for e in events if (e["pid"], e["tid"]) in main)) / 1000


def scroll(browser: Browser, page: Page, notch: int) -> Longest:
    """To the end, as a person does: the wheel is turned, then there is a pause to read."""
    page.mouse.move(600, 400)
    browser.start_tracing(page=page, categories=["toplevel"])
    page.evaluate("() => { scrollTo(0, 0); bench.frame = bench.task = 0; }")
    while not page.evaluate(AT_END):
        for _ in range(10):
            page.mouse.wheel(0, notch)
            page.wait_for_timeout(16)
        page.wait_for_timeout(150)
    frame, task = page.evaluate("() => [bench.frame, bench.task]")
    return Longest(frame, task, processor_time(browser.stop_tracing()))


@dataclass
class Held:
    """What is in memory. `heap` and `facade` in bytes."""

    heap: int
    nodes: int
    listeners: int
    facade: int

    @classmethod
    def now(cls, page: Page, served: Site) -> "Held":
        """After both have collected their garbage."""
        session = page.context.new_cdp_session(page)
        for _ in range(2):
            session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")["usedSize"]
        counters = session.send("Memory.getDOMCounters")
        session.detach()
        return cls(int(heap), counters["nodes"], counters["jsEventListeners"], served.memory())

    def __str__(self) -> str:
        return (
            f"heap {self.heap / MIB:.1f} MiB, {self.nodes} nodes, {self.listeners} listeners, facade"
            f" {self.facade / MIB:.0f} MiB"
        )


def follow(page: Page, served: Site, seconds: float) -> list[Held]:
    """What is in memory each time that all views have been open in turn, for so long after the first time."""
    home = f"/ui/environments/{Place.of(0).id}"
    held: list[Held] = []
    begun = end = float("inf")
    while time.monotonic() < end:
        for path in ("/ui/", f"{home}/log", f"{home}/settings", f"{home}/snapshots", home):
            page.evaluate(GO, path)
            page.wait_for_timeout(VISIT * 1000)
        page.wait_for_function(ENVIRONMENT)
        if not held:
            begun = time.monotonic()
            end = begun + seconds
        held.append(Held.now(page, served))
        print(f"{time.monotonic() - begun:.0f} s: {held[-1]}", file=sys.stderr)
    return held


def growth(values: list[float]) -> list[float]:
    """From the median of the first third to that of the last one."""
    third = -(-len(values) // 3)
    return [statistics.median(values[-third:]) - statistics.median(values[:third])]


def views(browser: Browser, served: Site, options: argparse.Namespace, environments: int) -> list[Figure]:
    """The first views of a fleet, and how it scrolls."""
    first: list[float] = []
    opened: list[float] = []
    scrolled: dict[str, list[Longest]] = {"environments": [], "snapshots": []}
    heights: list[float] = []
    for _ in range(options.runs):
        with visitor(browser, served.url, viewport=LAPTOP) as person:
            person.context.add_init_script(MEASURES)
            page = person.page
            first.append(first_view(person, served.token))
            heights.append(page.evaluate(HEIGHT))
            scrolled["environments"].append(scroll(browser, page, 300))
            page.evaluate("scrollTo(0, 0)")
            page.get_by_label("Name, namespace or id").fill(Place.of(0).name)
            page.wait_for_function(ONE)
            link = page.get_by_role("link", name=Place.of(0).name, exact=True)
            opened.append(painted(page, ENVIRONMENT, link.click))
            page.get_by_role("link", name="Snapshots", exact=True).click()
            page.wait_for_function(SNAPSHOTS)
            scrolled["snapshots"].append(scroll(browser, page, 3000))
        print(f"first view {first[-1]:.0f} ms, environment {opened[-1]:.0f} ms", file=sys.stderr)
        for name, runs in scrolled.items():
            print(f"{name}, scrolled: {runs[-1]}", file=sys.stderr)
    fleet = f"of {environments:,} environments"
    return [
        limit(f"page: first view {fleet}, from the click", first, 300, "ms"),
        limit(f"page: height of the fleet {fleet}, in screens", heights, SCREENS * environments / 200, "screens"),
        limit(f"page: view of an environment with {options.largest:,} snapshots, one {fleet}", opened, 1000, "ms"),
        *(
            figure
            for name, runs in scrolled.items()
            for figure in (
                limit(f"page: longest frame, scrolling the {name} {fleet}", [r.frame for r in runs], 100, "ms"),
                limit(f"page: … most processor time of a task, {name}", [r.processor for r in runs], 50, "ms"),
            )
        ),
    ]


def growths(browser: Browser, served: Site, options: argparse.Namespace) -> list[Figure]:
    """What grows while changes arrive."""
    with visitor(browser, served.url, viewport=LAPTOP) as person:
        person.context.add_init_script(MEASURES)
        first_view(person, served.token)
        served.ask("change")
        held = follow(person.page, served, options.stream_seconds)
    stream = f"{options.stream_seconds:.0f} s of stream, {options.rate:g} changes a second"
    return [
        limit(f"{stream}: growth of the page's heap", growth([h.heap / MIB for h in held]), 2, "MiB"),
        limit(f"{stream}: growth of the page's nodes", growth([h.nodes for h in held]), 500, "nodes"),
        limit(f"{stream}: growth of the page's listeners", growth([h.listeners for h in held]), 50, "listeners"),
        limit(f"{stream}: growth of the facade", growth([h.facade / MIB for h in held]), 16, "MiB"),
    ]


def main() -> None:
    """Figures as a table on stdout, and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=Path, metavar="FOLDER", help="be the facade, with the page in this folder")
    parser.add_argument("--environments", type=int, nargs="+", default=[200, 1000], help="of each fleet")
    parser.add_argument("--snapshots", type=int, default=20_000)
    parser.add_argument("--largest", type=int, default=10_000, help="snapshots of the largest environment")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=4.0, help="changes a second during the stream")
    parser.add_argument("--stream-seconds", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.serve:
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(Path(folder), options))
        return
    built = built_page()
    figures = [limit("page: its files, compressed", [compressed(built) / 1000], BYTES, "kB")]
    with chromium() as browser:
        for environments in options.environments:
            with site(built, options, environments) as served:
                figures += views(browser, served, options, environments)
                if environments == max(options.environments):
                    figures += growths(browser, served, options)
    report(figures, options.json)


if __name__ == "__main__":
    main()
