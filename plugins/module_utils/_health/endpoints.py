# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a module's parameters to endpoints, and reject invalid parameters."""

from __future__ import annotations

import os.path
import re

from .._errors import ArgumentError
from .._http import params as http_params
from .._http.client import Request, Tls, Url
from .._http.expect import Expected
from .poll import Endpoint, Policy

_MINIMUMS = {"attempts": 1, "successes": 1, "concurrency": 1, "interval": 0}
_POSITIVE = ("timeout", "deadline", "min_certificate_days")


def read(params: http_params.Params) -> tuple[list[Endpoint], Policy]:
    """Parse the parameters of C(health_check). ArgumentError names the first invalid one."""
    for name, least in _MINIMUMS.items():
        if not params[name] >= least:
            raise ArgumentError(f"{name} must be at least {least}, not {params[name]}.")
    for name in _POSITIVE:
        if params[name] is not None and not params[name] > 0:
            raise ArgumentError(f"{name} must be greater than 0, not {params[name]}.")
    if params["successes"] > params["attempts"]:
        raise ArgumentError(
            f"successes ({params['successes']}) in a row cannot be reached with "
            f"attempts ({params['attempts']}); raise attempts."
        )
    if params["min_certificate_days"] is not None and not params["validate_certs"]:
        raise ArgumentError("min_certificate_days needs validate_certs.")
    if params["ca_path"] and not os.path.isfile(params["ca_path"]):
        raise ArgumentError(f"ca_path {params['ca_path']} is no file.")
    if not params["endpoints"]:
        raise ArgumentError("endpoints is empty: there is nothing to check.")
    tls = Tls(params["validate_certs"], params["ca_path"])
    tls.context()
    endpoints = []
    for index, given in enumerate(params["endpoints"]):
        try:
            endpoints.append(_endpoint(given, params, tls))
        except ArgumentError as error:
            raise ArgumentError(f"endpoints[{index}]: {error}") from None
    return endpoints, Policy(params["attempts"], params["interval"], params["successes"])


def _endpoint(given: http_params.Params, params: http_params.Params, tls: Tls) -> Endpoint:
    if (given["path"] is None) == (given["url"] is None):
        raise ArgumentError("name either a path or a url.")
    text = given["url"] or http_params.join(params["base_url"], given["path"] or "")
    if given["max_ms"] is not None and not given["max_ms"] > 0:
        raise ArgumentError(f"max_ms must be greater than 0, not {given['max_ms']}.")
    if not given["status"] or not all(100 <= code <= 999 for code in given["status"]):
        raise ArgumentError(f"status must list codes from 100 to 999, not {given['status']}.")
    try:
        re.compile(given["matches"] or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise ArgumentError(f"matches is no regular expression: {error}.") from None
    headers = http_params.headers_of(given["headers"])
    request = Request(
        Url.parse(text),
        method=given["method"],
        headers=headers,
        body=http_params.body_of(given, headers),
        unix_socket=params["unix_socket"],
        timeout=params["timeout"],
        tls=tls,
        redirects=params["follow_redirects"],
    )
    return Endpoint(given["name"] or request.url.path, request, _expected(given, params))


def _expected(given: http_params.Params, params: http_params.Params) -> Expected:
    return Expected(
        status=given["status"],
        contains=given["contains"],
        matches=given["matches"],
        json=given["json"] or {},
        response_headers={k: str(v) for k, v in (given["response_headers"] or {}).items()},
        max_ms=given["max_ms"],
        min_certificate_days=params["min_certificate_days"],
    )
