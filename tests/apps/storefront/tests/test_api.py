import pytest

SOAP_DISH = {"name": "Soap dish", "price_cents": 1500, "category": "Bath", "description": "Dry."}


@pytest.fixture
def soap_dish(shopper):
    """Its address; whatever a test does, it is gone afterwards."""
    answer = shopper.post_json("/api/products", SOAP_DISH)
    assert answer.status == 201
    path = f"/api/products/{answer.json['id']}"
    yield path
    shopper.delete(path)


def test_products_come_in_pages(shopper):
    first, second = (shopper.get(f"/api/products?per_page=5&page={n}").json for n in (1, 2))
    assert len(first["products"]) == len(second["products"]) == 5
    assert first["total"] == second["total"] >= 60
    assert not {p["id"] for p in first["products"]} & {p["id"] for p in second["products"]}


def test_filter_finds_only_its_own_category(shopper):
    found = shopper.get("/api/products?category=Garden").json["products"]
    assert {product["category"] for product in found} == {"Garden"}


def test_categories_are_counted(shopper):
    counts = {c["name"]: c["products"] for c in shopper.get("/api/categories").json["categories"]}
    assert counts["Garden"] == shopper.get("/api/products?category=Garden").json["total"]


def test_created_product_can_be_read(shopper, soap_dish):
    read = shopper.get(soap_dish).json
    assert {field: read[field] for field in SOAP_DISH} == SOAP_DISH


def test_created_product_says_where_it_is(shopper):
    answer = shopper.post_json("/api/products", SOAP_DISH)
    path = f"/api/products/{answer.json['id']}"
    try:
        assert answer.headers["Location"].endswith(path)
    finally:
        shopper.delete(path)


def test_deleted_product_is_gone(shopper, soap_dish):
    assert shopper.delete(soap_dish).status == 204
    assert shopper.get(soap_dish).status == 404
    assert shopper.delete(soap_dish).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        [],
        {},
        {**SOAP_DISH, "name": " "},
        {**SOAP_DISH, "name": 7},
        {**SOAP_DISH, "name": "Soap\0dish"},
        {**SOAP_DISH, "name": "\ud800"},
        {**SOAP_DISH, "name": "x" * 121},
        {**SOAP_DISH, "price_cents": -1},
        {**SOAP_DISH, "price_cents": True},
        {**SOAP_DISH, "price_cents": "12"},
        {**SOAP_DISH, "price_cents": 10**12},
        {**SOAP_DISH, "category": "Attic"},
        {**SOAP_DISH, "category": None},
        {**SOAP_DISH, "description": ["Dry."]},
    ],
)
def test_bad_product_is_refused_with_a_reason(shopper, body):
    answer = shopper.post_json("/api/products", body)
    assert answer.status == 400
    assert answer.json["message"]
    assert "Traceback" not in answer.text


def test_errors_of_the_api_are_json(shopper):
    assert shopper.get("/api/products/2000000000").json["error"] == "Not Found"
    assert shopper.get("/api/no-such-thing").json["error"] == "Not Found"
    wrong_method = shopper.ask("PUT", "/api/products")
    assert wrong_method.json["error"] == "Method Not Allowed"
    assert "POST" in wrong_method.headers["Allow"]


def test_ordered_product_stays(shopper):
    assert shopper.delete("/api/products/1").status == 409
    assert shopper.get("/api/products/1").status == 200
