"""A small shop."""

import logging
import os

from flask import Flask

from . import api, auth, cart, errors, uploads, views
from .models import db, migrate

__version__ = "1.0.0"


def create_app(config=None):
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SECRET_KEY", "dev"),
        SQLALCHEMY_DATABASE_URI=database_url(),
        UPLOAD_FOLDER=os.environ.get("UPLOAD_FOLDER", os.path.join(app.instance_path, "uploads")),
        MAX_CONTENT_LENGTH=int(os.environ.get("MAX_CONTENT_LENGTH", 2 * 1024 * 1024)),
        VERSION=__version__,
    )
    app.config.from_mapping(config or {})
    app.logger.setLevel(logging.INFO)

    db.init_app(app)
    migrate.init_app(app, db)
    for part in (views, api, auth, cart, uploads):
        app.register_blueprint(part.bp)
    errors.init_app(app)
    return app


def database_url():
    url = os.environ.get("DATABASE_URL", "sqlite:///storefront.db")
    # Hosting providers say postgres://, SQLAlchemy wants to know the driver.
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        scheme = "postgresql+psycopg"
    return scheme + separator + rest
