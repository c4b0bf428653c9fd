# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app with the weak spots that attackers look for. Never run it where others can reach it."""

import contextlib
import io
import os
import time
import traceback

from flask import Flask, make_response, redirect, request, session, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
# Flask's documentation shows this for an app behind a proxy. Here it trusts every forwarding header.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
MESSAGES = "/srv/victim/shared/messages"
# The cache stores only answers that take longer than Redis.
SLOW_SECONDS = 0.01


@app.get("/health")
def health():
    return {"status": "ok"}


@app.get("/")
def index():
    time.sleep(SLOW_SECONDS)
    if request.is_json:
        return {"page": "main"}
    return f'<h1>Victim</h1><a href="{url_for("account")}">account</a>'


@app.get("/about")
def about():
    """Show what a visitor sent, as an error page of a careless app does."""
    time.sleep(SLOW_SECONDS)
    return f"<p>{request.content_type} {request.headers.get('X-Forwarded-Port')}</p>"


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        # No framework knows this key.
        session["member"] = request.form["name"]
        return redirect(url_for("account"))
    session["csrf_token"] = "0123456789abcdef"
    return "<form method=post><input name=name></form>"


@app.post("/logout")
def logout():
    session.pop("member", None)
    return redirect(url_for("index"))


@app.get("/account")
def account():
    if "member" not in session:
        return redirect(url_for("login"))
    return f"<p>Hello, {session['member']}</p>"


@app.get("/reset")
def reset():
    return url_for("reset", _external=True)


@app.get("/log")
def log_reading():
    """Record a reading by GET, as sensors do."""
    time.sleep(SLOW_SECONDS)
    with open(MESSAGES, "a", encoding="utf-8") as stream:
        stream.write(request.args["t"] + "\n")
    return "recorded"


@app.get("/wiki/<path:page>")
def wiki(page):
    return f"<p>{len(page)} characters</p>"


@app.get("/fail")
def fail():
    raise RuntimeError(request.args.get("text", "a fault that was always there"))


@app.post("/run")
def run_code():
    """Run the code that a request brings: the weak spot of an intruder inside the slot."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(request.get_data(as_text=True), {})
        except BaseException:
            traceback.print_exc(file=printed)
    answer = make_response(printed.getvalue())
    answer.mimetype = "text/plain"
    return answer
