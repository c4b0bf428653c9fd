import json
import os
import urllib.error
import urllib.request
from http.cookiejar import CookieJar

import pytest

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:5000").rstrip("/")


class Answer:
    def __init__(self, raw):
        self.status = raw.status
        self.url = raw.url
        self.headers = raw.headers
        self.body = raw.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Shopper:
    """A browser: keeps cookies, follows redirects."""

    def __init__(self):
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(BASE_URL + path, body, headers, method=method)
        try:
            with self.opener.open(request, timeout=10) as raw:
                return Answer(raw)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error)

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=b""):
        return self.ask("POST", path, body)

    def post_json(self, path, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask("POST", path, body, Content_Type="application/json")

    def delete(self, path):
        return self.ask("DELETE", path)

    def upload(self, name, content):
        head = f'--cut\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--cut--\r\n"
        return self.ask("POST", "/upload", body, Content_Type="multipart/form-data; boundary=cut")


@pytest.fixture
def shopper():
    return Shopper()
