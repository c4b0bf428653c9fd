"""The catalogue, and somebody to buy from it

Revision ID: 0001
Revises:
Create Date: 2026-03-02 09:14:07

"""

from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
from alembic import op
from werkzeug.security import generate_password_hash

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPENING = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)

CATEGORIES = ["Bath", "Garden", "Kitchen", "Study", "Workshop"]
WOODS = ["Oak", "Ash", "Beech", "Larch", "Walnut"]
# name, category, price in cents, description
KINDS = [
    ("bowl", "Kitchen", 3400, "Turned from one block of {wood}, oiled and safe for food."),
    ("planter", "Garden", 4900, "Slatted {wood} that greys with the years and keeps its shape."),
    ("lamp", "Study", 8900, "A stem of {wood}, a linen shade and a warm light to read by."),
    ("stool", "Bath", 6200, "Three legs of {wood}, waxed against the wet."),
    ("mallet", "Workshop", 2800, "A head of {wood} on a long handle, made for chisels."),
    ("tray", "Kitchen", 3900, "Carries breakfast for two; rounded {wood}, cut-out handles."),
    ("shelf", "Study", 12900, "Two boards of {wood} that hang on a single rail."),
    ("bench", "Garden", 18900, "Seats two, or one and a book. {Wood}, pegged, without a screw."),
    ("brush", "Bath", 1900, "A back of {wood} with bristles that can be replaced."),
    ("clock", "Study", 7400, "A slice of {wood} and a movement that nobody hears."),
    ("spoon", "Kitchen", 1200, "Carved along the grain of the {wood}, so it lasts."),
    ("crate", "Workshop", 4400, "Finger-jointed {wood} that stacks, full or empty."),
]
REVIEWS = [
    ("Ines", 5, "Sturdier than it looks, and it looks good."),
    ("Tomas", 4, "Came a day early and smells of wood."),
    ("Aylin", 5, "I bought a second one for my sister."),
    ("Jonas", 4, "Fits exactly under the stairs."),
    ("Marta", 3, "The finish could be smoother on the inside."),
    ("Pavel", 5, "My favourite thing in the house."),
    ("Greta", 4, "Simple, in the best sense of the word."),
    ("Samir", 5, "You can tell that somebody took their time."),
]


def upgrade():
    category = op.create_table(
        "category",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
    )
    product = op.create_table(
        "product",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("picture", sa.String(80), nullable=False),
        sa.Column("featured", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("category_id", sa.Integer(), sa.ForeignKey("category.id"), nullable=False),
    )
    op.create_index("ix_product_category_id", "product", ["category_id"])
    review = op.create_table(
        "review",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("author", sa.String(80), nullable=False),
        sa.Column("stars", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("product_id", sa.Integer(), sa.ForeignKey("product.id"), nullable=False),
    )
    op.create_index("ix_review_product_id", "review", ["product_id"])
    users = op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
    )
    orders = op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), nullable=False),
    )
    op.create_index("ix_orders_user_id", "orders", ["user_id"])
    order_items = op.create_table(
        "order_items",
        sa.Column("order_id", sa.Integer(), sa.ForeignKey("orders.id"), primary_key=True),
        sa.Column("product_id", sa.Integer(), sa.ForeignKey("product.id"), primary_key=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
    )

    # The tables are new, so their ids count from 1.
    op.bulk_insert(category, [{"name": name} for name in CATEGORIES])
    products = list(catalogue())
    op.bulk_insert(product, products)
    op.bulk_insert(
        review,
        [
            {
                "author": author,
                "stars": stars,
                "text": text,
                "created_at": OPENING + timedelta(days=number),
                "product_id": 1 + number * 7 % len(products),
            }
            for number, (author, stars, text) in enumerate(REVIEWS * 5)
        ],
    )
    op.bulk_insert(
        users, [{"name": "demo", "password_hash": generate_password_hash("demo-password")}]
    )
    op.bulk_insert(
        orders,
        [{"created_at": OPENING + timedelta(days=7 * number), "user_id": 1} for number in range(6)],
    )
    op.bulk_insert(
        order_items,
        [
            {
                "order_id": 1 + number // 2,
                "product_id": 1 + number * 5,
                "quantity": 1 + number % 2,
                "price_cents": products[number * 5]["price_cents"],
            }
            for number in range(12)
        ],
    )


def catalogue():
    for row, (kind, category, price, description) in enumerate(KINDS):
        for step, wood in enumerate(WOODS):
            yield {
                "name": f"{wood} {kind}",
                "description": description.format(wood=wood.lower(), Wood=wood),
                "price_cents": price + price * step // 10,
                "picture": f"{kind}.svg",
                "featured": row < 8 and (row + step) % len(WOODS) == 0,
                "created_at": OPENING,
                "category_id": 1 + CATEGORIES.index(category),
            }


def downgrade():
    for table in ("order_items", "orders", "users", "review", "product", "category"):
        op.drop_table(table)
