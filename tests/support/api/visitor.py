"""A person at the page, in Chromium without a window, driven by Playwright. What goes wrong unseen fails
the test: an error in the console, an exception, a violation of the page's policy."""

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from support.api.browser import BROWSER
from support.api.provider import PASSWORD

#: Seconds that an expectation has.
PATIENCE = 15.0
#: What the browser logs about a page of an `http://` address other than loopback.
WITHOUT_TLS = "Cross-Origin-Opener-Policy header has been ignored"
#: Reports violations also where the browser logs none.
_REPORT = """document.addEventListener("securitypolicyviolation", (e) =>
  console.error(`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));"""


@contextlib.contextmanager
def chromium(*hosts: str) -> Iterator[Browser]:
    """A browser. No name resolves but these, localhost, and page.test, which is this machine too: nothing is loaded
    from elsewhere."""
    program, *options = BROWSER
    known = "".join(f", EXCLUDE {host}" for host in ("127.0.0.1", "localhost", *hosts))
    options += [f"--host-resolver-rules=MAP page.test 127.0.0.1, MAP * ~NOTFOUND{known}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(program), args=options)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person with a browser of their own: nothing is shared with another one."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        """`url`: of the facade. `options`: of the browser's context."""
        self.url = options.pop("base_url", url)
        self.context: BrowserContext = browser.new_context(base_url=self.url, **options)
        self.context.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        self.context.add_init_script(_REPORT)
        self.context.on("console", self._console)
        self.context.on("weberror", lambda error: self.faults.append(f"exception: {error.error}"))
        self.context.on("request", self._request)
        #: What went wrong unseen.
        self.faults: list[str] = []
        #: Patterns of faults that a test causes.
        self.expected: list[str] = []
        self.requests: list[str] = []
        self.page: Page = self.context.new_page()

    def open(self, path: str = "/ui/") -> Page:
        """Opens a view, as from a bookmark."""
        self.page.goto(path)
        return self.page

    def sign_in(self, subject: str, *, password: str = PASSWORD) -> None:
        """At the provider, in its window."""
        with self.context.expect_page() as opened:
            self.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
        answer(opened.value, subject, password)

    def paste(self, token: str) -> None:
        """Signs in with a token."""
        self.page.get_by_label("Access token").fill(token)
        self.page.get_by_role("button", name="Sign in with this token").click()

    def check(self) -> None:
        """Fails for what went wrong unseen."""
        unexpected = [f for f in self.faults if not any(re.search(p, f) for p in self.expected)]
        assert unexpected == []

    def _console(self, message: ConsoleMessage) -> None:
        page = message.page
        if message.type in ("error", "warning") and page is not None and page.url.startswith(self.url):
            self.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)


def until(condition: Callable[[], bool], page: Page) -> None:
    """Waits until a condition holds, while the browser goes on."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        page.wait_for_timeout(50)


def answer(window: Page, subject: str, password: str = PASSWORD) -> None:
    """Fills in the form of the provider."""
    window.get_by_label("Username").fill(subject)
    window.get_by_label("Password").fill(password)
    window.get_by_role("button", name="Login").click()


@contextlib.contextmanager
def visitor(browser: Browser, url: str, **options: Any) -> Iterator[Visitor]:
    """A person; at the end everything that went wrong unseen fails the test."""
    person = Visitor(browser, url, **options)
    try:
        yield person
        person.check()
    finally:
        person.context.close()


def type_to_confirm(within: "Page | Locator", text: str) -> None:
    """Types into the field that names what is replaced, key by key: nothing else counts there."""
    field = within.get_by_role("textbox", name=re.compile("to confirm$"))
    field.clear()
    field.press_sequentially(text)
