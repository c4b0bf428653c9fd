import re

import pytest


def test_main_page_offers_products(shopper):
    answer = shopper.get("/")
    assert answer.status == 200
    assert re.search(r'href="/products/\d+"', answer.text)


def test_what_the_main_page_links_to_is_there(shopper):
    links = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', shopper.get("/").text))
    assert links
    assert {shopper.get(link).status for link in links} == {200}


def test_category_page_shows_its_own_products(shopper):
    page = shopper.get("/products?category=Garden").text
    assert "Oak bench" in page
    assert "Oak bowl" not in page


def test_product_page_names_the_product(shopper):
    product = shopper.get("/api/products").json["products"][0]
    assert product["name"] in shopper.get(f"/products/{product['id']}").text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/no-such-page", 404), ("GET", "/products/2000000000", 404), ("POST", "/", 405)],
)
def test_errors_are_pages_of_the_shop(shopper, method, path, status):
    answer = shopper.ask(method, path)
    assert answer.status == status
    assert answer.headers.get_content_type() == "text/html"
    assert "Back to the shop" in answer.text


def test_sales_are_reported_by_category(shopper):
    sales = shopper.get("/reports/sales").json["sales"]
    assert all(row["total_cents"] > 0 for row in sales)


def test_health_tells_of_the_database(shopper):
    answer = shopper.get("/health")
    assert answer.status == 200
    assert answer.json["database"] == "ok"
