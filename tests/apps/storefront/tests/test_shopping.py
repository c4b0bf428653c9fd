from concurrent.futures import ThreadPoolExecutor

LOGIN = b"username=demo&password=demo-password"


def test_account_asks_strangers_to_log_in(shopper):
    assert shopper.get("/account").url.endswith("/login")


def test_login_opens_the_account_and_logout_closes_it(shopper):
    answer = shopper.post("/login", LOGIN)
    assert answer.url.endswith("/account")
    assert "Hello, demo" in answer.text
    assert shopper.get("/account").url.endswith("/account")
    shopper.post("/logout")
    assert shopper.get("/account").url.endswith("/login")


def test_login_holds_for_requests_at_once(shopper):
    # One after another, they may all be answered by the same process.
    shopper.post("/login", LOGIN)
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(shopper.get, ["/account"] * 24))
    assert {page.url.rpartition("/")[2] for page in pages} == {"account"}


def test_wrong_password_is_refused(shopper):
    answer = shopper.post("/login", b"username=demo&password=guess")
    assert answer.status == 401
    assert "Wrong user name or password" in answer.text
    assert shopper.get("/account").url.endswith("/login")


def test_cart_remembers_what_was_added(shopper):
    for product_id in (1, 2, 1):
        assert shopper.post(f"/cart/add/{product_id}").status == 200
    cart = shopper.get("/cart").json
    assert {item["id"]: item["quantity"] for item in cart["items"]} == {1: 2, 2: 1}
    assert cart["count"] == 3


def test_carts_are_not_shared(shopper):
    shopper.post("/cart/add/1")
    assert type(shopper)().get("/cart").json["count"] == 0


def test_unknown_product_cannot_be_added(shopper):
    assert shopper.post("/cart/add/2000000000").status == 404


def test_order_needs_a_login(shopper):
    shopper.post("/cart/add/1")
    assert shopper.post("/checkout").url.endswith("/login")
    assert shopper.get("/cart").json["count"] == 1
