"""Signing in at a real provider, and with a pasted token: tokens stay in memory, and whatever fails says what to do."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.sync_api import Page, expect

from support.api.provider import Provider, provider
from support.api.serving import Serving
from support.api.visitor import WITHOUT_TLS, Visitor, answer, until

Site = Callable[..., Serving]
Visit = Callable[..., Visitor]

SUBJECT = "ann@example.org"
READER = {"permissions": ["read"]}
#: What a browser logs by itself when a server does not answer.
NO_ANSWER = "Failed to load resource: net::ERR"
#: What it logs when a server refuses.
REFUSED = "Failed to load resource: the server responded with a status of 4"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider"), {SUBJECT: READER}) as found:
        yield found


@pytest.fixture
def served(site: Site, issuer: Provider) -> Serving:
    return site(**issuer.settings)


@pytest.fixture
def ann(visit: Visit, served: Serving) -> Visitor:
    """At the page, not signed in."""
    person = visit(served)
    person.open()
    return person


def signed_in(page: Page) -> None:
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def says(page: Page, text: str) -> None:
    expect(page.get_by_role("alert").or_(page.get_by_role("status")).filter(has_text=re.compile(text))).to_be_visible()


def token_of(person: Visitor, act: Callable[[], Any]) -> str:
    """The token that the page sends to the API after an act."""
    with person.page.expect_request("**/console/v1/me") as asked:
        act()
    return str(asked.value.headers["authorization"].removeprefix("Bearer "))


def test_row_108_at_a_provider_with_the_token_in_memory_only(ann: Visitor) -> None:
    token = token_of(ann, lambda: ann.sign_in(SUBJECT))
    signed_in(ann.page)
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == SUBJECT
    until(lambda: len(ann.context.pages) == 1, ann.page)  # the provider's window is closed
    assert [url for url in ann.requests if token in url or "access_token" in url] == []
    kept = ann.context.storage_state(indexed_db=True)
    assert [o for o in kept["origins"] if o["origin"] == ann.url] == []
    assert ann.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert [c for c in kept["cookies"] if c["domain"] != "localhost"] == []
    found = ann.page.evaluate(
        "[location.href, JSON.stringify(history.state), window.name, document.cookie, document.body.outerHTML]"
    )
    assert not [text for text in found if token in text or token.split(".")[2] in text]


def test_row_119_a_browser_that_draws_late_misses_no_change(visit: Visit, served: Serving) -> None:
    """The answer how one signs in comes before the first frame is drawn, as on a machine with much to do."""
    person = visit(served)
    person.context.add_init_script("""const soon = window.setTimeout;
      window.setTimeout = (act, wait = 0, ...more) => soon(act, wait + 1500, ...more);
      window.requestAnimationFrame = (draw) => soon(() => draw(performance.now()), 1500);""")
    person.open()
    expect(person.page.get_by_role("button", name=re.compile("^Sign in at "))).to_be_visible()


def test_the_request_is_one_of_oauth_2_1(ann: Visitor) -> None:
    """PKCE with S256, a state and a nonce, none of them the same twice."""
    asked = []
    for _ in range(2):
        with ann.context.expect_page() as opened:
            ann.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
        opened.value.get_by_label("Username").wait_for()
        ann.page.get_by_role("button", name="Cancel").click()
        found = [parse_qs(urlsplit(url).query) for url in ann.requests if "/auth?" in url][-1]
        asked.append(found)
    for query in asked:
        assert (query["response_type"], query["code_challenge_method"]) == (["code"], ["S256"])
        assert query["redirect_uri"] == [f"{ann.url}/ui/signed-in"]
        assert "client_secret" not in query
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name][0]) >= 43


def test_row_108_the_providers_window_cannot_reach_the_page(ann: Visitor) -> None:
    """Else whatever it shows could replace the page by one that looks like it."""
    with ann.context.expect_page() as opened:
        ann.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
    opened.value.get_by_label("Username").wait_for()
    assert opened.value.evaluate("window.opener") is None


def test_with_the_id_token(site: Site, issuer: Provider, visit: Visit) -> None:
    """Some providers have no access tokens that anyone else can verify."""
    person = visit(site(**issuer.settings, ui_token="id", default_scopes="read"))
    person.open()
    token = token_of(person, lambda: person.sign_in(SUBJECT))
    signed_in(person.page)
    assert "nonce" in jwt.decode(token, options={"verify_signature": False})


def test_row_108_an_answer_that_was_not_asked_for_is_ignored(ann: Visitor) -> None:
    """As from a link that someone else has made."""
    with ann.context.expect_page() as opened:
        ann.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
    opened.value.get_by_label("Username").wait_for()
    ann.expected += ["Scripts may close only the windows that were opened by them"]
    other = ann.context.new_page()
    other.goto("/ui/signed-in?code=stolen&state=of-another")
    expect(other.get_by_text("sign in there")).to_be_visible()
    assert other.url == f"{ann.url}/ui/signed-in", "the code is not in the address any more"
    says(ann.page, "Complete the sign-in in the window")
    answer(opened.value, SUBJECT)
    signed_in(ann.page)


def test_a_refusal_of_the_provider_is_text(ann: Visitor) -> None:
    with ann.context.expect_page() as opened:
        ann.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
    opened.value.get_by_label("Username").wait_for()
    state = [parse_qs(urlsplit(url).query)["state"][0] for url in ann.requests if "/auth?" in url][-1]
    ann.expected += ["Scripts may close only the windows that were opened by them"]
    other = ann.context.new_page()
    other.goto(f"/ui/signed-in?error=access_denied&error_description=<img src=x onerror=alert(1)>&state={state}")
    says(ann.page, r"refused \(access_denied: <img src=x onerror=alert\(1\)>\). Try again")


def test_a_window_that_the_browser_blocks(ann: Visitor) -> None:
    ann.page.evaluate("window.open = () => null")
    ann.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
    says(ann.page, "Allow pop-up windows for this address")


def test_without_tls_only_a_pasted_token_works(visit: Visit, site: Site, issuer: Provider) -> None:
    """Browsers give such a page no cryptography."""
    served = site(**issuer.settings)
    person = visit(served, base_url=served.url.replace("127.0.0.1", "page.test"))
    person.expected += [WITHOUT_TLS]
    person.open()
    person.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
    says(person.page, "Signing in needs an address that begins with https://. Open the page there, or paste a token")


def test_a_provider_that_is_down(site: Site, tmp_path: Path, visit: Visit) -> None:
    with provider(tmp_path, {SUBJECT: READER}) as own:
        person = visit(site(**own.settings, jwks_refetch_seconds=0.1))
        person.open()
        own.stop()
        person.expected += [NO_ANSWER]
        person.page.get_by_role("button", name=re.compile("^Sign in at ")).click()
        says(person.page, f"The sign-in server {urlsplit(own.issuer).netloc} cannot be reached. Try again")
        own.start()
        person.sign_in(SUBJECT)
        signed_in(person.page)


def test_a_clock_that_is_wrong(visit: Visit, served: Serving) -> None:
    """By hours, as of a computer whose time zone was set by changing the time."""
    person = visit(served)
    person.page.clock.install(time="2031-05-01T12:00:00Z")
    person.page.clock.resume()
    person.open()
    person.sign_in(SUBJECT)
    signed_in(person.page)
    expect(person.page.get_by_role("heading", name="Sign in again")).to_be_hidden()


def test_signing_out_forgets_and_revokes(site: Site, issuer: Provider, visit: Visit) -> None:
    person = visit(site(**issuer.settings, ui_scopes="openid,offline_access"))
    person.open()
    person.sign_in(SUBJECT)
    signed_in(person.page)
    with person.page.expect_response("**/revoke") as revoked:
        person.page.get_by_role("button", name="Sign out").click()
    assert revoked.value.ok
    says(person.page, "This page has forgotten your token")
    link = person.page.get_by_role("link", name=re.compile("^End your session at"))
    assert (link.get_attribute("href") or "").startswith(f"{issuer.issuer}/end_session?client_id=page")
    assert not [u for u in person.requests if "id_token_hint" in u]


def test_a_token_that_ends_is_said_before_and_the_place_is_kept(site: Site, tmp_path: Path, visit: Visit) -> None:
    with provider(tmp_path, {SUBJECT: READER}) as own:
        own.stop()
        own.start(lifetime="10s")
        person = visit(site(**own.settings))
        person.open("/ui/somewhere")
        person.page.evaluate("window.same = true")
        person.sign_in(SUBJECT)
        signed_in(person.page)
        says(person.page, "The sign-in ends at")
        says(person.page, "The sign-in has ended. What was loaded stays here")
        person.sign_in(SUBJECT)
        expect(person.page.get_by_role("heading", name="Sign in again")).to_be_hidden()
        assert person.page.evaluate("[window.same, location.pathname]") == [True, "/ui/somewhere"]


def test_a_refresh_token_renews_without_a_word_until_the_provider_refuses(
    site: Site, tmp_path: Path, visit: Visit
) -> None:
    with provider(tmp_path, {SUBJECT: READER}) as own:
        own.stop()
        own.start(lifetime="4s")
        person = visit(site(**own.settings, ui_scopes="openid,offline_access"))
        person.open()
        person.sign_in(SUBJECT)
        signed_in(person.page)
        for _ in range(2):
            with person.page.expect_response("**/oauth/token") as renewed:
                pass
            assert renewed.value.ok
        expect(person.page.get_by_role("heading", name="Sign in again")).to_be_hidden()
        own.stop()
        own.start(lifetime="4s")
        person.expected += [REFUSED, NO_ANSWER]
        says(person.page, "The sign-in has ended")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "This is no JSON Web Token"),
        ("a.b.c", "This is no JSON Web Token"),
        ("<script>alert(1)</script>", "This is no JSON Web Token"),
        (lambda issuer: issuer.token(lifetime=-60), "This token has expired"),
        (lambda issuer: issuer.token(aud="other"), "`aud` does not name this API"),
        (lambda issuer: issuer.token(iat=2**33, nbf=2**33), "Check the clocks of the issuer and of this server"),
    ],
    ids=["word", "parts", "markup", "expired", "audience", "clock"],
)
def test_a_wrong_token_says_why(text: Any, words: str, site: Site, visit: Visit) -> None:
    served = site()
    person = visit(served)
    person.open()
    person.expected += [REFUSED]
    person.paste(text if isinstance(text, str) else text(served.issuer))
    says(person.page, re.escape(words))
    assert person.page.get_by_label("Access token").input_value() == "", "it is not left in the page"


def test_a_pasted_token_may_be_the_whole_header(site: Site, visit: Visit) -> None:
    served = site()
    person = visit(served)
    person.open()
    assert person.page.get_by_role("button", name=re.compile("^Sign in at ")).count() == 0, "no provider is configured"
    token = served.issuer.token(lifetime=3600)
    person.paste(f"Authorization: Bearer {token[:40]}\n  {token[40:]} ")
    signed_in(person.page)


def test_without_pasted_tokens(site: Site, issuer: Provider, visit: Visit) -> None:
    person = visit(site(**issuer.settings, ui_pasted_token=False))
    person.open()
    expect(person.page.get_by_role("button", name=re.compile("^Sign in at "))).to_be_visible()
    assert person.page.get_by_label("Access token").count() == 0


def test_without_javascript(site: Site, visit: Visit) -> None:
    person = visit(site(), java_script_enabled=False)
    person.open()
    expect(person.page.get_by_role("heading", name="This page needs JavaScript")).to_be_visible()


def test_a_facade_that_is_away_while_the_page_starts(site: Site, visit: Visit) -> None:
    person = visit(site())
    person.expected += [NO_ANSWER]
    person.page.route("**/ui/config.json", lambda route: route.abort())
    person.open()
    says(person.page, "The server does not answer. The page tries again")
    person.page.unroute("**/ui/config.json")
    expect(person.page.get_by_label("Access token")).to_be_visible()
