# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WSGI entry of an app: the app as it is, in its production form."""

from __future__ import annotations

import os

import production_optimized
from evenkeel_logging import RequestIdMiddleware
from evenkeel_middleware import DrainMiddleware, ReleaseMiddleware
from evenkeel_optimize import Optimizer
from gunicorn.util import import_app
from werkzeug.middleware.proxy_fix import ProxyFix

FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# While it is staged a release has a dot in front.
RELEASE = os.path.basename(FOLDER).lstrip(".")

optimizer = Optimizer(production_optimized, FOLDER)
optimizer.lay_under()
app = import_app(production_optimized.EVENKEEL_ENTRY)
if getattr(app, "debug", False):
    raise RuntimeError(
        "debug mode is on, which shows visitors what is inside. Switch it off: FLASK_DEBUG, app.debug"
    )
# There is one proxy in front, and no other client can open the socket.
application = ProxyFix(optimizer.surround(app, RELEASE), x_for=1, x_proto=1, x_host=1)
application = DrainMiddleware(RequestIdMiddleware(application))
application = ReleaseMiddleware(application, RELEASE)
