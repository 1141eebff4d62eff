"""Each scenario of sdk/CONTRACT.md, by its number, over each transport that it counts for."""

import pathlib
import tempfile

import contract
import pytest
from harness.daemon import ADMIN_PASSWORD

CASES = [
    pytest.param(function, transport, id=f"{number:02}-{function.__name__}-{transport}")
    for number, (function, transports) in sorted(contract.SCENARIOS.items())
    for transport in transports
]


@pytest.mark.parametrize(("scenario", "transport"), CASES)
def test_scenario(scenario, transport, daemon):
    with tempfile.TemporaryDirectory(prefix="appmesh-contract-") as scratch:
        pathlib.Path(scratch).chmod(0o777)
        ports = (daemon.port, daemon.tcp_port, daemon.ws_port)
        place = contract.Place("127.0.0.1", ports, daemon.ca_file, "admin", ADMIN_PASSWORD, pathlib.Path(scratch))
        scenario(place, transport)
