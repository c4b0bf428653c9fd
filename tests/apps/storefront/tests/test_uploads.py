CONTENT = bytes(range(256)) * 40


def test_uploaded_file_comes_back_whole_until_deleted(shopper):
    answer = shopper.upload("plan.pdf", CONTENT)
    assert answer.status == 201
    path = answer.json["url"]
    assert shopper.get(path).body == CONTENT
    assert shopper.delete(path).status == 204
    assert shopper.get(path).status == 404


def test_name_of_an_upload_cannot_lead_elsewhere(shopper):
    path = shopper.upload("../../etc/passwd", b"mine").json["url"]
    try:
        assert path.startswith("/uploads/")
        assert path.count("/") == 2
    finally:
        shopper.delete(path)


def test_upload_without_a_file_is_refused(shopper):
    assert shopper.post("/upload").status == 400


def test_too_large_upload_is_refused(shopper):
    assert shopper.upload("large.bin", bytes(2 * 1024 * 1024 + 1)).status == 413
