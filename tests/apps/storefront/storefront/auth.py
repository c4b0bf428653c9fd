from flask import (
    Blueprint,
    current_app,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from sqlalchemy import select

from .models import User, db

bp = Blueprint("auth", __name__)


def current_user():
    user_id = session.get("user_id")
    return db.session.get(User, user_id) if user_id is not None else None


@bp.get("/login")
def login_form():
    return render_template("login.html")


@bp.post("/login")
def login():
    name = request.form.get("username", "")
    user = db.session.scalar(select(User).where(User.name == name))
    if user is None or not user.has_password(request.form.get("password", "")):
        current_app.logger.warning("Login failed for %r", name)
        return render_template("login.html", error="Wrong user name or password."), 401
    session["user_id"] = user.id
    current_app.logger.info("User %s logged in", user.name)
    return redirect(url_for(".account"))


@bp.post("/logout")
def logout():
    session.clear()
    return redirect(url_for("views.index"))


@bp.get("/account")
def account():
    user = current_user()
    if user is None:
        return redirect(url_for(".login_form"))
    return render_template("account.html", user=user)
