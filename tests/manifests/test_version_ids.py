"""What changes a version, and what does not."""

import pytest
from manifest_texts import config_map, deployment, guard, load_texts, policy, route, secret, service

CONTAINER = """\
env:
- {name: MODE, value: fast}
- {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: TOKEN}}}
envFrom: [{configMapRef: {name: settings}}]
"""
BASE = {
    "deployment": deployment(container=CONTAINER),
    "config": config_map(),
    "secret": secret(),
    "policy": policy("timeout: 1s"),
    "route": route("timeouts: {request: 500ms}"),
    "service": service(),
    "guard": guard("keep: 10s"),
}


def version_of(commit="c1", **changed):
    """Return the version of the one service, with some documents changed."""
    (wanted,) = load_texts(*(BASE | changed).values(), commit=commit).wanted
    return wanted.version


def test_equal_manifests_at_two_commits_have_equal_version_ids():
    """A version is what runs, not when it was committed."""
    first, second = version_of("c1"), version_of("c2")
    assert first.id == second.id
    assert (first.commit, second.commit) == ("c1", "c2")


@pytest.mark.parametrize(
    "changed",
    [
        {"deployment": BASE["deployment"].replace("1.0.0", "1.0.1")},
        {"deployment": BASE["deployment"].replace("fast", "slow")},
        {"config": BASE["config"].replace("blue", "green")},
        {"secret": BASE["secret"].replace("c2VzYW1l", "c2VzYW1m")},
        {"policy": BASE["policy"].replace("1s", "2s")},
        {"route": BASE["route"].replace("500ms", "400ms")},
    ],
    ids=["image", "env", "config-map", "secret", "policy", "route"],
)
def test_a_change_of_what_runs_is_another_version(changed):
    """Code, configuration and mesh policy are all guarded alike."""
    assert version_of(**changed).id != version_of().id


@pytest.mark.parametrize(
    "changed",
    [
        {"deployment": BASE["deployment"].replace("replicas: 1", "replicas: 5")},
        {"deployment": BASE["deployment"].replace("{labels: {app: web}}", "{labels: {app: web, team: a}}")},
        {"deployment": BASE["deployment"].replace("{name: web}", "{name: web, labels: {a: b}}")},
        {"deployment": BASE["deployment"] + "# a comment\n"},
        {"service": BASE["service"].replace("port: 80", "port: 81")},
        {"guard": BASE["guard"].replace("10s", "20s")},
        {"config": BASE["config"] + "---\n" + config_map("unused")},
    ],
    ids=["replicas", "pod-labels", "labels", "comment", "service", "guard", "other-config"],
)
def test_a_change_of_anything_else_is_the_same_version(changed):
    """Scaling and labelling are no releases."""
    assert version_of(**changed).id == version_of().id


def test_the_order_of_variables_does_not_matter():
    """The same environment in another order is the same version."""
    swapped = "\n".join(reversed(CONTAINER.splitlines()[1:3]))
    other = CONTAINER.splitlines()[0] + "\n" + swapped + "\n" + CONTAINER.splitlines()[3] + "\n"
    assert version_of(deployment=deployment(container=other)).id == version_of().id
