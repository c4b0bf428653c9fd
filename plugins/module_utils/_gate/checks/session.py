# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that all workers accept a session that one worker sets, and that they reject a forged one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from ..._errors import HttpError
from ..._http.client import Response
from ..._http.expect import Expected, evaluate
from ..check import CheckContext, Failed, HttpTarget, Passed, Settings, Skipped, expect
from ..cookies import Cookie, Jar
from ..html import Page

TITLE = "Session Management"
SPEC: dict[str, Any] = {
    "login": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "form": {"type": "dict", "required": True, "no_log": True},
            "status": {"type": "list", "elements": "int", "default": [200, 302, 303]},
        },
    },
    "check": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "contains": {"type": "str"},
            "status": {"type": "list", "elements": "int", "default": [200]},
        },
    },
    "reads": {"type": "int", "default": 10},
    "survives_switch": {"type": "bool", "default": True},
    "secure": {"type": "bool"},
    "httponly": {"type": "bool"},
    "samesite": {"type": "str", "choices": ["Strict", "Lax", "None"]},
}

AT_ONCE = 4


def run(trial: CheckContext, settings: Settings) -> Passed:
    if not settings["login"] or not settings["check"]:
        raise Skipped("no login is named (checks.session.login and checks.session.check)")
    if not trial.may_write:
        raise Skipped("it logs in, and this is check mode")
    site = trial.candidate
    jar, cookies = log_in(site, settings["login"])
    for cookie in cookies:
        check_attributes(cookie, settings)
    read(site, settings, jar)
    kept = kept_by(site.fetch(settings["check"]["path"], headers=jar.header()))
    if kept:
        raise Failed(f"{settings['check']['path']} may be kept by caches for others ({kept})")
    for visitor, name in ((Jar(), "no session"), (jar.forged(), "a forged cookie")):
        if not problem(site, settings["check"], visitor):
            raise Failed(f"{settings['check']['path']} answers {name} like a session")
    detail = f"read {settings['reads']} times, a forged cookie is none"
    shared = tuple(shared_domains(cookies))
    if not trial.live or not settings["survives_switch"]:
        return Passed(detail, shared)
    try:
        carried, live_cookies = log_in(trial.live, settings["login"], "at the live release")
    except (Failed, HttpError) as error:
        # The candidate may be the fix.
        unknown = f"whether a session survives the switch is not known: {error}"
        return Passed(detail, (*shared, unknown))
    for cookie in cookies:
        compare_attributes(cookie, live_cookies, settings)
    lost = problem(site, settings["check"], carried)
    if lost:
        raise Failed(
            f"a session of the live release is none to the candidate ({lost}), so users would be "
            "logged out; where that is meant, set checks.session.survives_switch: false"
        )
    return Passed(f"{detail}, survives the switch", shared)


def log_in(site: HttpTarget, login: Settings, where: str = "") -> tuple[Jar, list[Cookie]]:
    """Log in as a browser does, with the hidden fields (for example a CSRF token) of the login page."""
    subject = f"login {where}".strip()
    jar = Jar()
    page = site.fetch(login["path"])
    jar.take(page.headers.all("Set-Cookie"))
    form = {name: str(value) for name, value in login["form"].items()}
    if page.status == 200:
        form = {**Page(page.text()).hidden_beside(set(form)), **form}
    headers = {"Content-Type": "application/x-www-form-urlencoded", **jar.header()}
    answer = site.fetch(login["path"], "POST", headers, urlencode(form).encode())
    expect(answer, Expected(status=login["status"]), subject)
    cookies = jar.take(answer.headers.all("Set-Cookie"))
    if not jar.header():
        raise Failed(f"{subject}: {answer.status}, but no cookie was set")
    return jar, cookies


def check_attributes(cookie: Cookie, settings: Settings) -> None:
    for name in ("secure", "httponly"):
        expected = settings[name]
        if expected is not None and expected != (name in cookie.attributes):
            raise Failed(f"cookie {cookie.name} is {'not ' if expected else ''}{name}")
    expected = settings["samesite"]
    found = cookie.attributes.get("samesite")
    if expected and (found or "").lower() != expected.lower():
        raise Failed(f"cookie {cookie.name} has SameSite={found or 'unset'}, wanted {expected}")


def compare_attributes(cookie: Cookie, live: list[Cookie], settings: Settings) -> None:
    """Require the live cookie's protective attributes, unless the settings name another value."""
    for name in ("secure", "httponly", "samesite"):
        had = any(other.name == cookie.name and name in other.attributes for other in live)
        if had and name not in cookie.attributes and settings[name] is None:
            raise Failed(f"cookie {cookie.name} is without {name}, which the live release's has")


def shared_domains(cookies: list[Cookie]) -> list[str]:
    """Warn of a cookie that other apps of its domain receive and can overwrite."""
    return [
        f"cookie {cookie.name} is for all of {cookie.attributes['domain']}; apps that share its login need one "
        "SECRET_KEY and one redis_client_key_prefix, others need another SESSION_COOKIE_NAME"
        for cookie in cookies
        if cookie.attributes.get("domain")
    ]


def kept_by(page: Response) -> str | None:
    """Return the header that allows a shared cache to store a page for other users (RFC 9111)."""
    header = (page.headers.get("Cache-Control") or "").lower()
    directives = {part.strip().partition("=")[0] for part in header.split(",")}
    if directives & {"private", "no-store", "no-cache"}:
        return None
    alike = "cookie" not in (page.headers.get("Vary") or "").lower()
    if directives & {"public", "s-maxage"} or (alike and "max-age" in directives):
        return f"Cache-Control: {header[:80]}"
    return None


def problem(site: HttpTarget, check: Settings, jar: Jar) -> str | None:
    answer = site.fetch(check["path"], headers=jar.header())
    # As a browser does: an old id may be valid only for seconds after the page changed the session.
    jar.take(answer.headers.all("Set-Cookie"))
    return evaluate(answer, Expected(status=check["status"], contains=check["contains"]), 0)


def read(site: HttpTarget, settings: Settings, jar: Jar) -> None:
    """Read the session C(reads) times, each over a new connection, so that any worker can respond."""
    reads = settings["reads"]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        problems = pool.map(lambda _turn: problem(site, settings["check"], jar), range(reads))
        for turn, wrong in enumerate(problems, start=1):
            if wrong:
                raise Failed(f"read {turn} of {reads}: {wrong}")
