from flask import Blueprint, abort, current_app, jsonify, request, url_for
from sqlalchemy import exists, func, select
from sqlalchemy.orm import joinedload

from .models import Category, OrderItem, Product, db

bp = Blueprint("api", __name__, url_prefix="/api")

HIGHEST_PRICE = 10_000_000


@bp.get("/products")
def products():
    query = select(Product).options(joinedload(Product.category)).order_by(Product.id)
    if "category" in request.args:
        query = query.where(Product.category.has(name=request.args["category"]))
    page = db.paginate(query, max_per_page=100, error_out=False)
    return jsonify(
        products=[product.to_dict() for product in page.items],
        page=page.page,
        pages=page.pages,
        total=page.total,
    )


@bp.get("/products/<int:product_id>")
def product(product_id):
    return jsonify(db.get_or_404(Product, product_id).to_dict())


@bp.post("/products")
def create_product():
    made = Product(**product_fields(request.get_json()))
    db.session.add(made)
    db.session.commit()
    current_app.logger.info("Product %s created: %s", made.id, made.name)
    location = url_for(".product", product_id=made.id)
    return jsonify(made.to_dict()), 201, {"Location": location}


@bp.delete("/products/<int:product_id>")
def delete_product(product_id):
    product = db.get_or_404(Product, product_id)
    if db.session.scalar(select(exists().where(OrderItem.product_id == product_id))):
        abort(409, "The product has been ordered and must stay.")
    db.session.delete(product)
    db.session.commit()
    current_app.logger.info("Product %s deleted", product_id)
    return "", 204


@bp.get("/categories")
def categories():
    rows = db.session.execute(
        select(Category.id, Category.name, func.count(Product.id))
        .outerjoin(Category.products)
        .group_by(Category.id)
        .order_by(Category.name)
    )
    return jsonify(
        categories=[{"id": id, "name": name, "products": count} for id, name, count in rows]
    )


def product_fields(body):
    if not isinstance(body, dict):
        abort(400, "The body must be a JSON object.")
    price = body.get("price_cents")
    # True and False are whole numbers to Python.
    if isinstance(price, bool) or not isinstance(price, int) or not 0 <= price <= HIGHEST_PRICE:
        abort(400, f"price_cents must be a whole number from 0 to {HIGHEST_PRICE}.")
    name = text_field(body, "name", longest=120)
    if not name:
        abort(400, "name is missing.")
    category = db.session.scalar(
        select(Category).where(Category.name == text_field(body, "category", longest=80))
    )
    if category is None:
        abort(400, "category must be one of those that /api/categories lists.")
    return {
        "name": name,
        "price_cents": price,
        "category": category,
        "description": text_field(body, "description", longest=2000),
    }


def text_field(body, field, longest):
    value = body.get(field, "")
    if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
        abort(400, f"{field} must be a line of at most {longest} characters.")
    return value.strip()
