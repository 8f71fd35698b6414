"""How the API server is found and how we prove who we are, as kubectl would; what is wrong is said, secrets are not."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sternway.errors import InvalidInput, Refused
from sternway.kubernetes.access import Access, find_access, in_cluster
from sternway.kubernetes.credentials import Exec, TokenFile
from sternway.kubernetes.errors import Denied

PLUGIN = """
import json, os, pathlib, sys
count = pathlib.Path(sys.argv[1])
runs = int(count.read_text() or 0) + 1 if count.exists() else 1
count.write_text(str(runs))
assert json.loads(os.environ["KUBERNETES_EXEC_INFO"])["kind"] == "ExecCredential"
print(json.dumps({"kind": "ExecCredential", "status": {"token": f"token-{runs}", **json.loads(sys.argv[2])}}))
"""


def _config(folder: Path, name: str = "config", **changes: Any) -> Path:
    text = {
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": {"server": "https://one.example:6443/"}}],
        "users": [{"name": "u", "user": {"token": "s3cret"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "two", "context": {"cluster": "c", "user": "nobody"}},
        ],
        **changes,
    }
    file = folder / name
    file.write_text(json.dumps(text))
    return file


def _find(file: Path, context: str = "") -> Access:
    return find_access(context=context, environment={"KUBECONFIG": str(file)})


async def _header(access: Access) -> str:
    return (await access.credentials.prove()).authorization


async def test_the_current_context_is_used(tmp_path: Path) -> None:
    """Its server, its namespace and its user; the token is in no `repr`."""
    access = _find(_config(tmp_path))
    assert (access.server, access.namespace) == ("https://one.example:6443", "shop")
    assert await _header(access) == "Bearer s3cret"
    assert "s3cret" not in repr(access) + repr(await access.credentials.prove())


@pytest.mark.parametrize(
    ("context", "changes", "said"),
    [
        ("three", {}, r"no context 'three'.*known: one, two"),
        ("two", {}, r"no user 'nobody'.*known: u"),
        ("", {"current-context": ""}, "name one with --context"),
        ("", {"clusters": [{"name": "c", "cluster": {}}]}, r"clusters\[c\]\.cluster\.server"),
        ("", {"users": [{"name": "u", "user": {"auth-provider": {"name": "gcp"}}}]}, "exec plugin"),
        (
            "",
            {"clusters": [{"name": "c", "cluster": {"server": "x", "certificate-authority-data": "%"}}]},
            "not base64",
        ),
        (
            "",
            {"clusters": [{"name": "c", "cluster": {"server": "x", "certificate-authority": "no.crt"}}]},
            "No such file",
        ),
    ],
)
def test_what_is_wrong_in_a_kubeconfig_is_named(
    tmp_path: Path, context: str, changes: dict[str, Any], said: str
) -> None:
    """The file, the field and what would be right."""
    file = _config(tmp_path, **changes)
    with pytest.raises(InvalidInput, match=said) as error:
        _find(file, context)
    assert str(file) in str(error.value)


def test_no_cluster_at_all_is_told(tmp_path: Path) -> None:
    """With what to set."""
    with pytest.raises(Refused, match="set KUBECONFIG"):
        find_access(environment={"HOME": str(tmp_path)})


async def test_several_files_are_one_and_the_first_counts(tmp_path: Path) -> None:
    """KUBECONFIG names a list; files beside a kubeconfig are named as seen from it."""
    (tmp_path / "token").write_text("from a file\n")
    first = _config(tmp_path, "first", contexts=[], clusters=[], users=[{"name": "u", "user": {"tokenFile": "token"}}])
    second = _config(tmp_path, "second")
    access = find_access(environment={"KUBECONFIG": f"{first}:{tmp_path / 'absent'}:{second}"})
    assert await _header(access) == "Bearer from a file"


async def test_a_pod_is_its_service_account(tmp_path: Path) -> None:
    """The token is read again when it is not accepted any more."""
    for name, text in (("token", "old"), ("ca.crt", ""), ("namespace", "sternway")):
        (tmp_path / name).write_text(text)
    access = in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "sternway")
    assert await _header(access) == "Bearer old"
    (tmp_path / "token").write_text("new")
    assert await _header(access) == "Bearer old"
    assert (await access.credentials.prove(renew=True)).authorization == "Bearer new"


def test_a_pod_without_a_token_is_told(tmp_path: Path) -> None:
    """And where it may have been turned off."""
    with pytest.raises(Refused, match="automountServiceAccountToken"):
        in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


async def test_a_token_file_that_is_gone_is_denied(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(Denied, match="absent"):
        await TokenFile(tmp_path / "absent").prove()


def _plugin(folder: Path, status: dict[str, Any]) -> Path:
    (folder / "plugin.py").write_text(PLUGIN)
    arguments = [str(folder / "plugin.py"), str(folder / "count"), json.dumps(status)]
    user = {"exec": {"command": sys.executable, "args": arguments, "apiVersion": "client.authentication.k8s.io/v1"}}
    return _config(folder, users=[{"name": "u", "user": user}])


async def test_a_plugin_is_run_once_until_it_is_refused(tmp_path: Path) -> None:
    """What it printed is kept while it holds."""
    credentials = _find(_plugin(tmp_path, {"expirationTimestamp": "2999-01-01T00:00:00Z"})).credentials
    proofs = [(await credentials.prove(renew=renew)).authorization for renew in (False, False, True, False)]
    assert proofs == ["Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer token-2"]


async def test_a_plugin_is_run_again_when_its_token_ends(tmp_path: Path) -> None:
    """Before the server has to refuse it."""
    credentials = _find(_plugin(tmp_path, {"expirationTimestamp": "2001-01-01T00:00:00Z"})).credentials
    assert [(await credentials.prove()).authorization for _ in range(2)] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("no-such-plugin-anywhere",), "install it"),
        ((sys.executable, "-c", "import sys; sys.exit('log in first')"), "log in first"),
        ((sys.executable, "-c", "print('{}')"), "no ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_is_told(command: tuple[str, ...], said: str) -> None:
    """Which one, and what it said or how to get it."""
    plugin = Exec(
        command=command,
        environment={},
        api_version="client.authentication.k8s.io/v1",
        cluster=None,
        hint="install it",
    )
    with pytest.raises(Denied, match=said) as error:
        await plugin.prove()
    assert command[0] in error.value.message


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Without the key in the error."""
    user = {name: base64.b64encode(b"s3cret").decode() for name in ("client-certificate-data", "client-key-data")}
    access = _find(_config(tmp_path, users=[{"name": "u", "user": user}]))
    certificate = access.credentials._proof.certificate  # type: ignore[attr-defined] # what Fixed gives
    with pytest.raises(Refused, match="cannot be read") as error:
        access.tls(certificate)
    assert "s3cret" not in str(error.value)
