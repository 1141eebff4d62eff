"""GET of one app over kept-alive HTTPS with a token, beside nginx's static reply of the same bytes with the same certificate and
cipher: requests for each second of processor time that the server used. wrk drives both with the same connections."""
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile

from harness import processes
from harness.figures import Figure
from harness.peers import Nginx

CONNECTIONS = 8


def cipher_of(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as secured:
        return secured.cipher()[0]


def drive(context, url, token, seconds):
    """Requests that wrk had answered in the time; an answer other than 2xx is an error."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua", dir=context.work) as script:
        script.write('local token = os.getenv("APPMESH_BENCH_TOKEN")\n'
                     'if token then wrk.headers["Authorization"] = "Bearer " .. token end\n')
        script.flush()
        environment = {name: value for name, value in os.environ.items() if name != "APPMESH_BENCH_TOKEN"}
        if token:
            environment["APPMESH_BENCH_TOKEN"] = token
        done = subprocess.run([context.wrk, "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", script.name, url],
                              env=environment, capture_output=True, text=True, timeout=seconds + 60, check=True)
    if re.search(r"Non-2xx|Socket errors", done.stdout):
        raise RuntimeError(f"wrk: {done.stdout}")
    match = re.search(r"(\d+) requests in ([\d.]+)(m?s)", done.stdout)
    return int(match.group(1))


def per_cpu_second(context, url, token, pids, seconds):
    before = processes.cpu_seconds(pids)
    requests = drive(context, url, token, seconds)
    return requests / (processes.cpu_seconds(pids) - before), requests / seconds


def self_signed(folder):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


def run(context):
    seconds = 2 if context.quick else 5
    ours, theirs, ours_rate, their_rate = [], [], [], []
    ciphers = {}

    def measure(daemon, body, certificate, key):
        with Nginx(context.nginx, context.work, body, certificate, key) as nginx:
            ciphers["nginx"] = cipher_of(nginx.port)
            sides = [(nginx.url, None, nginx.pids, theirs, their_rate)]
            if daemon:
                ciphers["ours"] = cipher_of(daemon.port)
                if ciphers["ours"] != ciphers["nginx"]:
                    raise RuntimeError(f"not the same cipher: {ciphers}")
                sides.insert(0, (f"{daemon.url}/appmesh/app/target", daemon.token, daemon.pids, ours, ours_rate))
            for url, token, pids, _, _ in sides:
                drive(context, url, token, 1)  # warm up
            for _ in range(context.repeats):
                for url, token, pids, samples, rates in sides:
                    per_cpu, rate = per_cpu_second(context, url, token, pids, seconds)
                    samples.append(per_cpu)
                    rates.append(rate)

    with tempfile.TemporaryDirectory(dir=context.work) as name:
        if context.has_daemon:
            with context.daemon() as daemon:
                daemon.add_app("target", "/bin/sleep 1000000", description="the app that everybody asks for")
                body = daemon.call("GET", "/appmesh/app/target")
                measure(daemon, body, daemon.home / "ssl/server.pem", daemon.home / "ssl/server-key.pem")
        else:
            body = b"x" * 600
            measure(None, body, *self_signed(pathlib.Path(name)))
    note = f"{len(body)} bytes, {CONNECTIONS} connections, {ciphers['nginx']}"
    return [
        Figure("GET app per CPU second", "req", ours, "nginx", theirs, target=(">=", 0.55), judged="ratio", note=note),
        Figure("GET app per second", "req", ours_rate, "nginx", their_rate, note=note),
    ]
