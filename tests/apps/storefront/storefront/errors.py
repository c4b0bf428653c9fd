from flask import json, render_template, request
from sqlalchemy.exc import DataError
from werkzeug.exceptions import BadRequest, HTTPException


def init_app(app):
    app.register_error_handler(HTTPException, show_error)
    app.register_error_handler(DataError, show_bad_value)


def show_error(error):
    """As JSON for the API, as a page for people; headers such as Allow are kept."""
    response = error.get_response()
    if request.path.startswith("/api/"):
        response.data = json.dumps({"error": error.name, "message": error.description})
        response.content_type = "application/json"
    else:
        response.data = render_template("error.html", error=error)
    return response


def show_bad_value(error):
    # A number too large for its column, or a NUL in a text.
    return show_error(BadRequest("A value is out of range."))
