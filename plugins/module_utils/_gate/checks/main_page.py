# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the main page: it has no error text, and its own stylesheets, scripts and images load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..._errors import ArgumentError, HttpError
from ..._http.client import Response, Url
from ..._http.expect import Expected
from ..check import CheckContext, Failed, HttpTarget, Inconclusive, Passed, Settings, expect
from ..disclosure import leak
from ..html import Page

TITLE = "Main Page Loading"
SPEC: dict[str, Any] = {
    "path": {"type": "str", "default": "/"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "contains": {"type": "str"},
}
MAX_ASSETS = 50
AT_ONCE = 4
# Browsers refuse to apply these with another content type.
KINDS = {"css": "text/css", "js": "javascript", "mjs": "javascript", "svg": "image/svg+xml"}
# A response that fits into one packet gains nothing from compression. In bytes.
MIN_COMPRESSED = 1500
# This name cannot exist (RFC 2606).
FOREIGN_HOST = "foreign.evenkeel.invalid"


def run(trial: CheckContext, settings: Settings) -> Passed:
    site = trial.candidate
    page = site.fetch(settings["path"])
    expect(page, Expected(status=settings["status"], contains=settings["contains"]))
    if not page.body.strip():
        raise Failed("the page is empty")
    shown = leak(page)
    if shown:
        raise Failed(f"the page shows {shown}")
    urls, warnings = own_assets(site, page)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        problems = [problem for problem in pool.map(lambda url: load(site, url), urls) if problem]
    if problems:
        raise Failed(
            f"{len(problems)} of {len(urls)} assets do not load: {'; '.join(problems[:5])}"
        )
    if lost_compression(trial, settings["path"], page):
        raise Failed("the page is not compressed, and the live release's is")
    warnings += accepted_foreign_host(site, settings["path"])
    return Passed(f"{page.status}, {len(urls)} assets load", warnings)


def accepted_foreign_host(site: HttpTarget, path: str) -> tuple[str, ...]:
    """Warn if the page accepts a host name that is not the app's; C(url_for) would put it into mails."""
    if site.unix_socket:
        # The request bypasses the front, which may reject it.
        return ()
    headers = {name: value for name, value in site.headers.items() if name.lower() != "host"}
    try:
        answer = replace(site, headers=headers).fetch(path, headers={"Host": FOREIGN_HOST})
    except (HttpError, Inconclusive):
        return ()
    location = urlsplit(answer.headers.get("Location") or "").hostname
    if answer.status >= 400 or location not in (None, FOREIGN_HOST):
        return ()
    return (
        f"a request with a foreign Host is answered by {answer.status}, so visitors choose the host of the app's "
        "external URLs; set nginx_server_names to the app's names",
    )


def lost_compression(trial: CheckContext, path: str, page: Response) -> bool:
    if not trial.live or is_compressed(page) or len(page.body) < MIN_COMPRESSED:
        return False
    try:
        return is_compressed(trial.live.fetch(path))
    except HttpError:
        # The candidate may be the fix.
        return False


def is_compressed(page: Response) -> bool:
    return (page.headers.get("Content-Encoding") or "identity").lower() != "identity"


def own_assets(site: HttpTarget, page: Response) -> tuple[list[Url], tuple[str, ...]]:
    """Return the assets that the candidate serves itself, and warnings on the others."""
    if "html" not in (page.headers.get("Content-Type") or "").lower():
        return [], ()
    parsed = Page(page.text())
    found: dict[Url, None] = {}
    warnings = []
    for reference in parsed.assets:
        try:
            url = site.own(page.url.join(parsed.base) if parsed.base else page.url, reference)
        except ArgumentError:
            warnings.append(f"the page refers to {reference[:60]!r}, which is no URL")
            continue
        if url:
            found[url] = None
    if len(found) > MAX_ASSETS:
        warnings.append(f"{len(found)} assets, of which the first {MAX_ASSETS} were loaded")
    return list(found)[:MAX_ASSETS], tuple(warnings)


def load(site: HttpTarget, url: Url) -> str | None:
    try:
        answer = site.fetch(url)
    except HttpError as error:
        return f"{url.path}: {error}"
    if not 200 <= answer.status < 400:
        return f"{url.path}: {answer.status}"
    kind = (answer.headers.get("Content-Type") or "").lower()
    expected = KINDS.get(url.path.rpartition(".")[2].lower(), "")
    # A browser guesses a missing content type, and trusts a given one.
    return f"{url.path}: {kind}, wanted {expected}" if kind and expected not in kind else None
