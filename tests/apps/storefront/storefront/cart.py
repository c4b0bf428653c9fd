from flask import Blueprint, current_app, jsonify, redirect, session, url_for
from sqlalchemy import select

from .auth import current_user
from .models import Order, OrderItem, Product, db

bp = Blueprint("cart", __name__)

MOST_OF_ONE = 99


@bp.get("/cart")
def show():
    items = [
        {
            "id": product.id,
            "name": product.name,
            "quantity": quantity,
            "price_cents": product.price_cents,
        }
        for product, quantity in in_cart()
    ]
    return jsonify(
        items=items,
        count=sum(item["quantity"] for item in items),
        total_cents=sum(item["quantity"] * item["price_cents"] for item in items),
    )


@bp.post("/cart/add/<int:product_id>")
def add(product_id):
    product = db.get_or_404(Product, product_id)
    cart = session.get("cart", {})
    # The session is kept as JSON, where all keys are strings.
    key = str(product.id)
    session["cart"] = {**cart, key: min(cart.get(key, 0) + 1, MOST_OF_ONE)}
    return show()


@bp.post("/checkout")
def checkout():
    user = current_user()
    if user is None:
        return redirect(url_for("auth.login_form"))
    items = [
        OrderItem(product=product, quantity=quantity, price_cents=product.price_cents)
        for product, quantity in in_cart()
    ]
    if items:
        order = Order(user=user, items=items)
        db.session.add(order)
        db.session.commit()
        session.pop("cart", None)
        current_app.logger.info("Order %s placed by %s", order.id, user.name)
    return redirect(url_for("auth.account"))


def in_cart():
    """What is in the cart and still for sale, with the quantity."""
    cart = session.get("cart", {})
    wanted = [int(key) for key in cart]
    products = db.session.scalars(
        select(Product).where(Product.id.in_(wanted)).order_by(Product.name)
    )
    return [(product, cart[str(product.id)]) for product in products]
