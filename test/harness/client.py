"""A small HTTPS client with nothing but the standard library, so that the tests see exactly what is on the wire."""
import base64
import http.client
import json
import ssl
import threading
import urllib.parse


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # http.client's message: names are case-insensitive
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json["message"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Client:
    """One user's view of one daemon. Connections are kept alive, one a thread."""

    def __init__(self, port, ca_file, timeout=60, address="127.0.0.1"):
        self.port = port
        self.address = address
        self.ca_file = ca_file
        self.timeout = timeout
        self.token = None
        self._local = threading.local()
        self._context = None

    def context(self):
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.ca_file)
            # The certificates that a first start makes name no other address of the loopback network.
            self._context.check_hostname = self.address == "127.0.0.1"
        return self._context

    def connect(self):
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=self.timeout, context=self.context())
        connection.connect()
        return connection

    def close(self):
        connection = getattr(self._local, "connection", None)
        if connection:
            connection.close()
        self._local.connection = None

    def request(self, method, path, query=None, body=None, headers=None, token=True):
        """token: True for the logged-on user's, None for none, or a string. A dict or list body is sent as JSON."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = dict(headers or {})
        if token is True:
            token = self.token
        if token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        elif isinstance(body, str):
            body = body.encode()
        reused = getattr(self._local, "connection", None) is not None
        try:
            return self._exchange(method, path, body, headers)
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
            # A kept connection may have been closed at the other end; only what changes nothing is sent again.
            if not reused or method != "GET":
                raise
            return self._exchange(method, path, body, headers)

    def _exchange(self, method, path, body, headers):
        if getattr(self._local, "connection", None) is None:
            self._local.connection = self.connect()
        connection = self._local.connection
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
            if response.will_close:
                self.close()
            return answer
        except BaseException:
            self.close()
            raise

    def ok(self, method, path, **options):
        answer = self.request(method, path, **options)
        assert answer.status == 200, f"{method} {path}: {answer}"
        return answer

    # Session.
    def login(self, user, password, **headers):
        answer = self.try_login(user, password, **headers)
        assert answer.status == 200, f"login of {user}: {answer}"
        self.token = answer.json["access_token"]
        return answer

    def try_login(self, user, password, **headers):
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", "/appmesh/login", headers={"Authorization": f"Basic {credentials}", **extra})

    # Applications.
    def add(self, name, command=None, **fields):
        body = {"name": name, **fields}
        if command is not None:
            body["command"] = command
        return self.ok("PUT", f"/appmesh/app/{name}", body=body).json

    def app(self, name):
        return self.ok("GET", f"/appmesh/app/{name}").json

    def apps(self):
        return {app["name"]: app for app in self.ok("GET", "/appmesh/applications").json}

    def exists(self, name):
        status = self.request("GET", f"/appmesh/app/{name}").status
        assert status in (200, 404), status
        return status == 200

    def enable(self, name):
        return self.ok("POST", f"/appmesh/app/{name}/enable")

    def disable(self, name):
        return self.ok("POST", f"/appmesh/app/{name}/disable")

    def delete(self, name):
        return self.ok("DELETE", f"/appmesh/app/{name}")

    def runs(self, name, **query):
        return self.ok("GET", f"/appmesh/app/{name}/runs", query=query).json

    def run(self, timeout=None, lifecycle=None, **app):
        return self.request("POST", "/appmesh/app/run", query=_times(timeout, lifecycle), body=app)

    def syncrun(self, timeout=None, lifecycle=None, **app):
        return self.request("POST", "/appmesh/app/syncrun", query=_times(timeout, lifecycle), body=app)

    def output(self, name, position=0, **query):
        return self.request("GET", f"/appmesh/app/{name}/output", query={"stdout_position": position, **query})

    def whole_output(self, name, **query):
        """Every kept byte of a run, read in as many pieces as it takes."""
        data, position = b"", 0
        while True:
            answer = self.output(name, position, **query)
            assert answer.status == 200, answer
            if not answer.body:
                return data
            data += answer.body
            position = int(answer.headers["X-Output-Position"])

    def wait_exit(self, run, seconds=60):
        """The published clients' loop: long-polls until the exit code is there; (code, output bytes)."""
        data, position = b"", 0
        for _ in range(seconds):
            answer = self.output(run["name"], position, process_uuid=run["process_uuid"], timeout=1)
            assert answer.status == 200, answer
            data += answer.body
            position = int(answer.headers.get("X-Output-Position", position))
            if "X-Exit-Code" in answer.headers:
                return int(answer.headers["X-Exit-Code"]), data
        raise AssertionError(f"no exit code of {run} within {seconds} polls; output so far {data[-500:]!r}")


def _times(timeout, lifecycle):
    return {key: value for key, value in (("timeout", timeout), ("lifecycle", lifecycle)) if value is not None}
