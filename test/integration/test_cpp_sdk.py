"""The C++ library as strangers use it: installed, found by CMake, and its examples run against a real daemon."""
import os
import pathlib
import pwd
import re
import subprocess

import pytest
from harness.daemon import ADMIN_PASSWORD, ROOT, binaries
from harness.waiting import eventually

COMPILER = "clang++-19"
EXAMPLES = ["run_app", "stream", "worker", "tasks", "events"]

pytestmark = pytest.mark.timeout(600)


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def blocks(kind):
    text = (ROOT / "docs/sdk/cpp.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The program of the documentation and the examples, built with nothing but an installed prefix."""
    build = binaries().parent
    assert (build / "cmake_install.cmake").exists(), f"{build} is no build folder: this installs the library out of one"
    folder = tmp_path_factory.mktemp("stranger")
    prefix = folder / "prefix"
    run("cmake", "--build", build, "--target", "appmesh_client")
    run("cmake", "--install", build, "--component", "sdk", "--prefix", prefix)
    (folder / "main.cpp").write_text(blocks("cpp")[0])
    lists = blocks("cmake")[0] + "".join(
        f"add_executable({name} {ROOT}/sdk/cpp/examples/{name}.cpp)\ntarget_link_libraries({name} PRIVATE appmesh::client)\n" for name in EXAMPLES)
    (folder / "CMakeLists.txt").write_text(lists)
    run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={COMPILER}", "-DCMAKE_BUILD_TYPE=Debug")
    run("cmake", "--build", folder / "build")
    return folder / "build"


def urls(daemon):
    return {"https": daemon.url, "tcp": f"tcp://127.0.0.1:{daemon.tcp_port}"}


def test_the_program_of_the_documentation_is_short_and_does_what_it_says(built, daemon):
    assert len([line for line in blocks("cpp")[0].splitlines() if line.strip()]) <= 20
    environment = {**os.environ, "APPMESH_URL": daemon.url, "APPMESH_PASSWORD": ADMIN_PASSWORD, "APPMESH_HOME_DIR": str(daemon.home)}
    lines = run(built / "hello", env=environment).splitlines()
    assert lines[0].startswith("hello from ") and lines[1] == "exit code 3"


@pytest.mark.parametrize("transport", ["https", "tcp"])
def test_a_command_is_run_and_its_exit_code_is_the_programs(transport, built, daemon):
    done = subprocess.run([built / "run_app", urls(daemon)[transport], daemon.ca_file, "admin", ADMIN_PASSWORD, "echo ran; exit 42"],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (42, "ran\n"), done.stderr


@pytest.mark.parametrize("transport", ["https", "tcp"])
def test_output_is_streamed_and_the_exit_code_is_the_programs(transport, built, daemon):
    done = subprocess.run([built / "stream", urls(daemon)[transport], daemon.ca_file, "admin", ADMIN_PASSWORD, "echo one; sleep 0.3; echo two; exit 41"],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (41, "one\ntwo\n"), done.stderr


@pytest.mark.parametrize("transport", ["https", "tcp"])
def test_a_worker_does_ten_sums(transport, built, daemon, admin, name, cleaned):
    cleaned.append(name)
    url = urls(daemon)[transport]
    admin.add(name, f"{built}/worker {url} {daemon.ca_file}")
    eventually(lambda: admin.app(name).get("pid"), "the worker runs")
    lines = run(built / "tasks", url, daemon.ca_file, "admin", ADMIN_PASSWORD, name).splitlines()
    assert lines == [f"1..{upto} = {upto * (upto + 1) // 2}" for upto in range(1, 11)]


def test_events_are_told_from_the_first_to_the_last(built, daemon, admin, cleaned):
    cleaned.append("watched")
    lines = run(built / "events", urls(daemon)["tcp"], daemon.ca_file, "admin", ADMIN_PASSWORD, "echo seen").splitlines()
    types = [line.split()[1] for line in lines]
    assert types[0] == "START" and types[-1] == "EXIT" and '"output":"seen\\n"' in "".join(lines)


def test_a_wait_without_the_permission_to_subscribe_has_all_the_same(daemon, tmp_path):
    program = binaries() / "sdk_cpp_contract"
    assert program.exists(), "scripts/build release builds it"
    root = daemon.client()
    root.ok("POST", "/appmesh/role/remover", body=["app-delete"])
    root.ok("PUT", "/appmesh/user/onlooker", body={"key": "Onlooker-123", "roles": ["shell", "view", "remover"],
                                                      "exec_user": pwd.getpwuid(os.geteuid()).pw_name})
    refused = daemon.client("onlooker", "Onlooker-123").request("POST", "/appmesh/subscribe")
    assert refused.status == 403 and "app-subscribe" in refused.message
    environment = {**os.environ, "APPMESH_CONTRACT_USER": "onlooker", "APPMESH_CONTRACT_PASSWORD": "Onlooker-123",
                   "APPMESH_CONTRACT_CA": daemon.ca_file, "APPMESH_CONTRACT_SCRATCH": str(tmp_path)}
    ports = f"{daemon.port},{daemon.tcp_port},{daemon.ws_port}"
    run(program, "127.0.0.1", ports, 3, "tcp", env=environment)
