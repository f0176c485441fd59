"""JupyterLab, as `make lab` starts it, lets nobody in without its token, and listens on this machine alone."""

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

import psutil
import pytest

from lab_utils.base.files import PROJECT


@pytest.fixture
def lab(tmp_path):
    """The server, started by the Makefile: its process and what it says."""
    command = ["make", "lab", "ARGS=--no-browser --allow-root --port=0"]
    folders = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **folders}, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process, log
    finally:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.terminate()
        process.wait(30)


def status(address):
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(
    not (PROJECT / ".venv" / "bin" / "jupyter").exists(), reason="the lab is not installed by make here"
)
def test_the_server_has_a_token_and_listens_on_loopback(lab):
    process, log = lab
    deadline, found = time.monotonic() + 60, None
    while not (found and answers(int(found[2]))):  # it tells its address a moment before it listens there
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
        found = re.search(r"(http://127\.0\.0\.1:(\d+)/)lab\S*\?token=([0-9a-f]{40,})", log.read_text())
    address, port, token = found[1], int(found[2]), found[3]
    for asked in ("api/contents", "api/kernels", "api/terminals"):
        assert status(f"{address}{asked}") == 403
        assert status(f"{address}{asked}?token={'0' * len(token)}") == 403
        assert status(f"{address}{asked}?token={token}") == 200
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    connections = [one for each in started for one in each.net_connections()]
    listening = {one.laddr for one in connections if one.status == psutil.CONN_LISTEN}
    assert port in {address.port for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_no_setting_of_ours_opens_the_server():
    """Neither in the containers' files nor in the Makefile is there a token that is empty or an address for all."""
    files = [PROJECT / "Makefile", PROJECT / "environment.yml", PROJECT / "README.md"]
    files += [path for name in (".devcontainer", ".binder") for path in (PROJECT / name).rglob("*") if path.is_file()]
    for path in files:
        assert not re.search(r"token|password|0\.0\.0\.0|--ip|allow_origin", path.read_text(encoding="utf-8")), path
