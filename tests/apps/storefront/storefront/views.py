import time

from flask import Blueprint, current_app, jsonify, render_template, request
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import joinedload

from .models import Category, Order, OrderItem, Product, Review, db

bp = Blueprint("views", __name__)

LONGEST_DELAY = 10.0


@bp.app_template_filter()
def euro(cents):
    return f"€ {cents / 100:,.2f}"


@bp.get("/")
def index():
    featured = db.session.scalars(
        select(Product).where(Product.featured).order_by(Product.id).limit(8)
    ).all()
    reviews = db.session.scalars(
        select(Review).options(joinedload(Review.product)).order_by(Review.id.desc()).limit(4)
    ).all()
    orders = db.session.scalar(select(func.count(Order.id)))
    return render_template(
        "index.html",
        featured=featured,
        categories=count_by_category(),
        reviews=reviews,
        orders=orders,
    )


@bp.get("/products")
def products():
    category = request.args.get("category", "")
    query = select(Product).order_by(Product.name)
    if category:
        query = query.join(Product.category).where(Category.name == category)
    page = db.paginate(query, per_page=24, max_per_page=24)
    return render_template(
        "products.html", page=page, category=category, categories=count_by_category()
    )


@bp.get("/products/<int:product_id>")
def product(product_id):
    return render_template("product.html", product=db.get_or_404(Product, product_id))


@bp.get("/reports/sales")
def sales():
    delay = request.args.get("delay", 0.0, type=float)
    wait_in_database(max(0.0, min(LONGEST_DELAY, delay)))
    turnover = func.sum(OrderItem.quantity * OrderItem.price_cents)
    rows = db.session.execute(
        select(Category.name, turnover)
        .join(Product, Product.category_id == Category.id)
        .join(OrderItem, OrderItem.product_id == Product.id)
        .group_by(Category.name)
        .order_by(Category.name)
    ).all()
    return jsonify(sales=[{"category": name, "total_cents": int(total)} for name, total in rows])


@bp.get("/health")
def health():
    version = current_app.config["VERSION"]
    try:
        db.session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        current_app.logger.error("The database does not answer: %s", error)
        return jsonify(status="error", database="unreachable", version=version), 503
    return jsonify(status="ok", database="ok", version=version)


def count_by_category():
    return db.session.execute(
        select(Category.name, func.count(Product.id))
        .outerjoin(Category.products)
        .group_by(Category.name)
        .order_by(Category.name)
    ).all()


def wait_in_database(seconds):
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    else:
        time.sleep(seconds)
