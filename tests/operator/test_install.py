"""What a cluster is given: `deploy/`, the chart and `sternway install` say the same, and the rights are enough and no more."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sternway.cli.app import app
from sternway.kubernetes import resources
from sternway.kubernetes.api import Object, Resource
from sternway.manifests.custom_resources import RULES as CEL
from sternway.manifests.custom_resources import definitions
from sternway.operator.chart import chart
from sternway.operator.install import RULES, Installation, installation, written

ROOT = Path(__file__).parents[2]
NOT_NEEDED = {"namespaces", "policies", "leases", "customresourcedefinitions"}
"""Kinds that are no business of the operator's role: leases have one of their own."""


def objects(kind: str, wanted: Installation | None = None) -> list[Object]:
    """The objects of one kind."""
    return [one for one in installation(wanted or Installation()) if one["kind"] == kind]


def test_the_folder_for_kubectl_is_what_install_prints():
    """`kubectl apply -k deploy/` and `sternway install --print` put the same into a cluster."""
    assert (ROOT / "deploy" / "sternway.yaml").read_text() == written(installation(Installation()))
    printed = CliRunner().invoke(app, ["install", "--print"]).stdout
    assert printed == (ROOT / "deploy" / "sternway.yaml").read_text()


@pytest.mark.parametrize("path", sorted(chart()))
def test_the_chart_is_made_from_the_same_objects(path: str):
    """Every file of the chart is what `python -m sternway.operator.chart` writes."""
    assert (ROOT / "charts" / "sternway" / path).read_text() == chart()[path]


def test_without_print_nothing_is_done_and_the_way_is_shown():
    """Who forgets --print is told the whole command."""
    found = CliRunner().invoke(app, ["install"])
    assert found.exit_code != 0
    assert "sternway install --print | kubectl apply" in str(found.exception) + found.output


@pytest.mark.parametrize(
    "resource", [one for one in vars(resources).values() if isinstance(one, Resource)], ids=lambda one: one.plural
)
def test_every_kind_that_is_used_stands_in_the_role(resource: Resource):
    """A kind that the code names may be read, at least."""
    if resource.plural in NOT_NEEDED:
        return
    allowed = {(group, plural) for group, plurals, verbs in RULES for plural in plurals if {"get", "patch"} & {*verbs}}
    allowed |= {(group, plural) for group, plurals, verbs in RULES for plural in plurals if "create" in verbs}
    assert (resource.group, resource.plural) in allowed


def test_rights_stay_within_the_watched_namespaces():
    """With --watch there is no right in the whole cluster, and one Role in each namespace."""
    wanted = Installation(watches=("shop", "payments"))
    assert not objects("ClusterRole", wanted)
    assert not objects("ClusterRoleBinding", wanted)
    roles = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in objects("Role", wanted)}
    assert roles == {("shop", "sternway"), ("payments", "sternway"), ("sternway-system", "sternway-leader")}


def test_no_right_reaches_nodes_roles_or_everything():
    """Least privilege: no wildcard, nothing with which rights could be widened."""
    named = {(group, plural) for group, plurals, _ in RULES for plural in plurals}
    assert not any("*" in (group, plural) for group, plural in named)
    assert not {group for group, _ in named} & {"rbac.authorization.k8s.io", "admissionregistration.k8s.io"}
    assert ("", "nodes") not in named


def test_the_pod_keeps_the_restricted_standard():
    """The pod fits the namespace's own Pod Security level, with a root file system that nobody writes to."""
    (deployment,) = objects("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(pod["volumes"][0]) == {"name", "persistentVolumeClaim"}


def test_a_volume_has_one_writer():
    """The journal is on a volume, so an update ends the old pod before the new one begins."""
    (deployment,) = objects("Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (1, "Recreate")


def test_every_schema_is_structural():
    """Every value has a type or is left open on purpose; nothing is refused for a reference, or for a rule of something else."""

    def look(schema: Object, path: str) -> None:
        assert not {"$ref", "anyOf", "title", "default", "const"} & set(schema), path
        assert "type" in schema or schema.get("x-kubernetes-preserve-unknown-fields"), path
        assert schema.get("type") == "object" or "x-kubernetes-validations" not in schema, path
        for name, field in schema.get("properties", {}).items():
            look(field, f"{path}.{name}")
        for below in ("items", "additionalProperties"):
            if below in schema:
                look(schema[below], f"{path}.{below}")

    for definition in definitions():
        (version,) = definition["spec"]["versions"]
        look(version["schema"]["openAPIV3Schema"], definition["spec"]["names"]["kind"])


def test_every_rule_stands_in_a_schema():
    """No rule is lost for a model that was renamed."""
    text = yaml.safe_dump(list(definitions()), width=100_000)
    for name, rules in CEL.items():
        for _, message in rules:
            assert message.replace("'", "''") in text or message in text, name
