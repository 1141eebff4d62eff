"""A worker: fetches tasks over HTTPS with its process key and answers them. argv: port CA [mode]; modes below.

Every payload that it starts to work on is a line of its log (WORKER_LOG), so that a test can count executions."""
import http.client
import os
import ssl
import sys
import time
import urllib.parse

port, ca = int(sys.argv[1]), sys.argv[2]
mode = sys.argv[3] if len(sys.argv) > 3 else "echo"
key = os.environ["APP_MESH_PROCESS_KEY"]
name = os.environ["APP_MESH_APPLICATION_NAME"]
path = f"/appmesh/app/{name}/task?" + urllib.parse.urlencode({"process_key": key})
context = ssl.create_default_context(cafile=ca)
connection = None


def call(method, body=None):
    """Until the daemon answers: it may be restarting. A lost answer to PUT is not sent again: it may have arrived."""
    global connection
    while True:
        try:
            if connection is None:
                connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=300, context=context)
                connection.connect()
        except OSError:
            connection = None
            time.sleep(0.02)
            continue
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            connection = None
            if method == "PUT":
                return 0, b""


def note(payload):
    if "WORKER_LOG" in os.environ:
        with open(os.environ["WORKER_LOG"], "ab") as log:
            log.write(payload[:100] + b"\n")


def wait_for(gate):
    while not os.path.exists(gate):
        time.sleep(0.01)


if mode == "never":
    time.sleep(3600)
while True:
    status, payload = call("GET")
    if status != 200:
        if status == 412:
            sys.exit(9)
        time.sleep(0.05)
        continue
    note(payload)
    if mode == "gated":  # the payload names the file that lets it answer
        wait_for(payload.decode())
    if mode == "slow":
        time.sleep(0.05)
    if payload == b"die":
        os._exit(7)
    if payload == b"forget":  # as if the answer to the fetch had been lost: asks again without answering
        status, again = call("GET")
        payload = b"again " + again
    instance = os.environ.get("APP_MESH_INSTANCE", "0").encode()
    status, _ = call("PUT", instance + b":" + str(os.getpid()).encode() + b":" + payload if mode == "who" else b"re:" + payload)
    print("answered", status, flush=True)
