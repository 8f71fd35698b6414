"""`sternway prometheus …` as a person types it: what is printed, what is written, and what is refused."""

import json
import subprocess

import pytest
import yaml
from typer.testing import CliRunner

from sternway.cli.app import app
from sternway.cli.observing import SourceName
from sternway.manifests.builtin_metrics import SOURCES

GUARD = """\
apiVersion: sternway.dev/v1alpha1
kind: Guard
metadata: {name: orders}
spec:
  service: orders
  judge: {objectives: {availability: 99.5}}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: shop}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      containers:
      - {name: main, image: "app:1", ports: [{containerPort: 80}]}
"""


@pytest.fixture
def manifests(tmp_path):
    """Give a folder with two services, one of which has an objective."""
    for name in ("orders", "stock"):
        (tmp_path / f"{name}.yaml").write_text(DEPLOYMENT % (name, name, name))
    (tmp_path / "guard.yaml").write_text(GUARD.replace("{name: orders}", "{name: orders, namespace: shop}"))
    (tmp_path / "images.yaml").write_text("images: {app: serve}\n")
    return tmp_path


def run(*arguments):
    """Run `sternway prometheus`."""
    return CliRunner().invoke(app, ["prometheus", *map(str, arguments)])


def test_rules_are_printed_as_prometheus_reads_them_and_say_who_promises_nothing(manifests):
    """YAML on the standard output alone; the note on a service without an objective goes to the other one."""
    done = run("rules", manifests)
    assert done.exit_code == 0
    assert "note: stock states no objective" in done.stderr
    found = yaml.safe_load(done.stdout)
    assert [group["name"] for group in found["groups"]] == ["sternway-orders", "sternway-stock", "sternway"]
    alerts = [rule for rule in found["groups"][0]["rules"] if "alert" in rule]
    assert {rule["labels"]["service"] for rule in alerts} == {"orders"}
    assert "&id" not in done.stdout


def test_rules_become_a_resource_of_the_operator(manifests):
    """Name, namespace and labels are the person's; a label that is none is refused."""
    label = ("--label", "release=monitoring")
    form = ("--format", "prometheus-operator", "--namespace", "watch", "--name", "shop")
    found = yaml.safe_load(run("rules", manifests, *form, *label).stdout)
    assert found["kind"] == "PrometheusRule"
    assert found["metadata"]["name"] == "shop"
    assert found["metadata"]["namespace"] == "watch"
    assert found["metadata"]["labels"]["release"] == "monitoring"
    refused = run("rules", manifests, *form, "--label", "release")
    assert refused.exit_code == 2
    assert "is no KEY=VALUE" in refused.stderr


def test_manifests_that_are_wrong_are_refused_as_everywhere(manifests):
    """The problem is told with its place, and nothing is written."""
    (manifests / "guard.yaml").write_text(GUARD.replace("availability", "availabilty"))
    done = run("rules", manifests, "--output-file", manifests / "rules.out")
    assert done.exit_code == 1
    assert "guard.yaml:6" in done.stderr
    assert "did you mean" in done.stderr
    assert not (manifests / "rules.out").exists()


def test_a_file_that_cannot_be_written_is_a_problem(manifests):
    """It names the file; one that can be written holds the rules, and nothing is printed."""
    done = run("rules", manifests, "--output-file", manifests / "nowhere" / "rules.yaml")
    assert done.exit_code == 1
    assert "nowhere/rules.yaml: cannot be written" in done.stderr
    done = run("rules", manifests, "--output-file", manifests / "rules.out")
    assert (done.exit_code, done.stdout) == (0, "")
    assert yaml.safe_load((manifests / "rules.out").read_text())["groups"]


def test_promtool_accepts_the_scrape_configuration(manifests):
    """It is a whole configuration, with a job for each that there is; Envoy and replicas only where they are named."""
    path = manifests / "prometheus.yaml"
    more = ("--envoy", "127.0.0.1:9901", "--targets", "targets/*.json")
    assert run("scrape-config", manifests, *more, "--output-file", path).exit_code == 0
    done = subprocess.run(
        ["promtool", "check", "config", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs(path.read_text()) == ["sternway", "envoy", "services"]
    assert jobs(run("scrape-config", manifests).stdout) == ["sternway"]


def jobs(text):
    """Name the jobs of a configuration."""
    return [job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]]


def test_on_kubernetes_the_services_pods_alone_are_scraped_and_named(manifests):
    """Only pods of the Deployments in the manifests, stable's twin too, each with the label of its service."""
    found = yaml.safe_load(run("scrape-config", manifests, "--platform", "kubernetes").stdout)
    job = found["scrape_configs"][1]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": ["shop"]}}]
    kept = [one["regex"] for one in job["relabel_configs"] if one.get("action") == "keep"]
    assert kept == ["true", "(orders|stock)(-stable)?-[a-z0-9]+"]
    named = {one["replacement"]: one["regex"] for one in job["relabel_configs"] if one.get("target_label") == "service"}
    assert named == {"orders": "orders(-stable)?-[a-z0-9]+", "stock": "stock(-stable)?-[a-z0-9]+"}


def test_the_dashboard_is_json_and_needs_no_manifests():
    """It is written from wherever one stands."""
    done = run("dashboard", "--source", "istio")
    assert done.exit_code == 0
    assert "istio_requests_total" in json.dumps(json.loads(done.stdout))


def test_the_sources_of_the_command_are_those_that_are_built_in():
    """An option is missing or too many as soon as the two differ."""
    assert sorted(one.value for one in SourceName) == sorted(SOURCES)
