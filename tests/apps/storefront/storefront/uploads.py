import os
import uuid

from flask import (
    Blueprint,
    abort,
    current_app,
    jsonify,
    request,
    send_from_directory,
    url_for,
)
from werkzeug.utils import safe_join, secure_filename

bp = Blueprint("uploads", __name__)


@bp.post("/upload")
def upload():
    file = request.files.get("file")
    if file is None or not file.filename:
        abort(400, "Send the file as a form field named file.")
    name = f"{uuid.uuid4().hex}-{secure_filename(file.filename)[-80:]}"
    folder = current_app.config["UPLOAD_FOLDER"]
    os.makedirs(folder, exist_ok=True)
    file.save(os.path.join(folder, name))
    current_app.logger.info("File %s uploaded", name)
    return jsonify(url=url_for(".uploaded", name=name)), 201


@bp.get("/uploads/<name>")
def uploaded(name):
    # Whatever people send us must not run as a page of the shop.
    answer = send_from_directory(current_app.config["UPLOAD_FOLDER"], name, as_attachment=True)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


@bp.delete("/uploads/<name>")
def delete(name):
    path = safe_join(current_app.config["UPLOAD_FOLDER"], name)
    if path is None or not os.path.isfile(path):
        abort(404)
    os.unlink(path)
    current_app.logger.info("File %s deleted", name)
    return "", 204
