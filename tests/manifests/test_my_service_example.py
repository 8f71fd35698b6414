"""The example: two Deployments as anybody would write them, with a real service behind them."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from free_ports import free_port
from sternway.domain.guards import implicit_guard
from sternway.manifests.explain import explain
from sternway.manifests.load import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-service"


def example_files():
    """Read the example as a commit would hold it."""
    return {path.name: path.read_text() for path in EXAMPLE.iterdir() if path.is_file()}


def connect(port):
    """Connect to the service, waiting until it listens."""
    deadline = time.monotonic() + 60
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.connect()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.02)
        else:
            return connection


@contextmanager
def running(version):
    """Run the service as images.yaml says, and stop it."""
    port = free_port()
    (command,) = load(example_files(), origin=str(EXAMPLE)).images.commands
    filled = {"python": sys.executable, "port": str(port), "tag": version}
    words = [word.format(**filled) for word in command.command]
    process = subprocess.Popen(words, cwd=command.working_dir, stderr=subprocess.DEVNULL)
    try:
        yield process, connect(port)
    finally:
        process.kill()
        process.wait()


def ask(connection, path="/", method="GET", body=None):
    """Send one request; return its status and the JSON answer."""
    connection.request(method, path, body=body)
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if text else None


def test_the_example_wants_one_service_with_a_standing_fallback():
    """The two Deployments work as they stand: one is the service, the other stands by."""
    catalogue = load(example_files(), commit="c1", origin="/srv/my-service")
    (wanted,) = catalogue.wanted
    assert (wanted.service.name, wanted.service.port, wanted.replicas) == ("my-service", 8080, 2)
    assert wanted.version.workload.image == "my-service:1.0.0"
    assert wanted.fallback is not None
    assert (wanted.fallback.workload.image, wanted.fallback_replicas) == ("my-service:0.9.9", 2)
    assert wanted.documents == (("deployment.yaml", "Deployment", "my-service"),)
    assert catalogue.notices == ()
    assert catalogue.images.commands[0].working_dir == "/srv/my-service"
    assert explain(catalogue)[0] == "my-service (port 8080): 2 replicas of my-service:1.0.0, guarded by guard.yaml:3"


def test_the_deployments_alone_are_two_services():
    """Without a Guard nothing says that one is the fallback of the other."""
    files = example_files()
    del files["guard.yaml"]
    wanted = load(files).wanted
    assert [(one.service.name, one.guard) for one in wanted] == [
        ("my-service", implicit_guard("my-service")),
        ("my-service-rollback", implicit_guard("my-service-rollback")),
    ]


def test_the_deployments_are_the_classic_ones():
    """No Service, no probes: nothing was added to make them work."""
    deployments = list(yaml.safe_load_all(example_files()["deployment.yaml"]))
    assert [(one["apiVersion"], one["kind"], one["metadata"]) for one in deployments] == [
        ("apps/v1", "Deployment", {"name": "my-service"}),
        ("apps/v1", "Deployment", {"name": "my-service-rollback"}),
    ]
    for one, image in zip(deployments, ["my-service:1.0.0", "my-service:0.9.9"], strict=True):
        assert one["spec"]["template"]["metadata"]["labels"] == {"app": one["metadata"]["name"]}
        assert one["spec"]["template"]["spec"] == {
            "containers": [{"name": "my-service", "image": image, "ports": [{"containerPort": 8080}]}]
        }


def test_a_healthy_version_answers_everything_on_one_connection():
    """The service keeps connections open, and answers each method with its version."""
    with running("1.0.0") as (_, connection):
        answers = [ask(connection, f"/{index}") for index in range(100)]
        assert {status for status, _ in answers} == {200}
        assert answers[7] == (200, {"message": "hello", "path": "/7", "version": "1.0.0"})
        assert ask(connection, "/x", "POST", body="data")[0] == 200
        assert ask(connection, "/x", "HEAD") == (200, None)
        assert ask(connection, "/healthz") == (200, {"status": "ok", "version": "1.0.0"})


def test_the_bad_version_fails_one_request_in_five_and_says_it_is_healthy():
    """Version 1.1.0 is ready and bad: only its answers show it (400 requests, within 6 standard deviations)."""
    with running("1.1.0") as (_, connection):
        failed = sum(ask(connection)[0] == 500 for _ in range(400))
        assert 32 <= failed <= 128
        assert {ask(connection, "/healthz")[0] for _ in range(50)} == {200}


def test_the_service_ends_promptly_though_connections_are_open():
    """A graceful stop waits for requests, not for idle connections."""
    with running("1.0.0") as (process, connection):
        assert ask(connection)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("word", ["sternway up", "sternway set image deployment/my-service my-service=my-service:1.1.0",
                                  "sternway status", "sternway history my-service"])  # fmt: skip
def test_the_readme_names_the_commands(word):
    """A newcomer finds every command of the walk-through."""
    assert word in (EXAMPLE / "README.md").read_text()
