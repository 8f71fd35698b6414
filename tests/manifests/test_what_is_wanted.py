"""Good input: what ordinary manifests turn into."""

import pytest
from manifest_texts import config_map, deployment, guard, load_texts, policy, route, secret, service

from sternway.domain.guards import implicit_guard
from sternway.domain.images import ImageCommand
from sternway.domain.mesh import (
    CircuitBreaker,
    Fault,
    HealthCheck,
    LoadBalancing,
    Match,
    MeshPolicy,
    OutlierDetection,
    Retries,
    RouteRule,
)
from sternway.domain.versions import ConfigFile, Probe, SecretKey, Service
from sternway.errors import InvalidInput
from sternway.manifests.load import load
from sternway.manifests.sources import secret_value


def one(*documents, **options):
    """Load a single service."""
    (wanted,) = load_texts(*documents, **options).wanted
    return wanted


def env_of(wanted):
    """Return the environment as a mapping; a secret stands as its reference."""
    return {variable.name: variable.secret or variable.value for variable in wanted.version.workload.env}


def test_a_service_and_the_deployment_it_selects_are_one_service_named_after_the_service():
    """The Service gives the name and the callers' port, the Deployment the replicas and their port."""
    wanted = one(deployment("web-app", app="web", replicas=3), service("web"))
    assert wanted.service == Service(name="web", port=80, namespace="default")
    assert (wanted.version.workload.port, wanted.replicas, wanted.commit) == (8080, 3, "c1")


def test_a_deployment_without_a_service_is_called_by_its_own_name_and_port():
    """The implicit service takes the container port named http, or else the first."""
    assert one(deployment()).service == Service(name="web", port=8080)
    named = deployment(ports="[{containerPort: 9090, name: admin}, {containerPort: 8081, name: http}]")
    assert one(named).service.port == 8081


def test_a_deployment_without_service_and_port_has_no_address():
    """A worker is a service that nobody calls."""
    wanted = one(deployment(ports=""))
    assert (wanted.service.port, wanted.version.workload.port) == (None, None)


@pytest.mark.parametrize(
    "ports",
    ["[{port: 80, targetPort: http}]", "[{port: 80, targetPort: 8080}]", "[{port: 8080}]"],
    ids=["by-name", "by-number", "same"],
)
def test_the_target_port_of_a_service_leads_to_the_container_port(ports):
    """A target port is a name, a number, or the Service's own port."""
    wanted = one(deployment(ports="[{containerPort: 8080, name: http}]"), service(ports=ports))
    assert wanted.version.workload.port == 8080


def test_of_several_service_ports_the_http_one_is_served_and_the_others_are_noted():
    """One port is served; nobody is left to wonder about the others."""
    ports = "[{port: 9000, name: metrics, targetPort: 8080}, {port: 80, name: http, targetPort: 8080}]"
    catalogue = load_texts(deployment(), service(ports=ports))
    assert catalogue.wanted[0].service.port == 80
    assert catalogue.notices == ("app.yaml:20: port 9000 of Service web is not served; 80 is",)


def test_a_service_without_a_guard_gets_the_default_one():
    """No Guard is needed to be protected."""
    assert one(deployment()).guard == implicit_guard("web")


def test_the_guard_chooses_between_the_deployments_of_a_service():
    """`deployment` is released, `fallback` stands by, a further one is not run and noted."""
    catalogue = load_texts(
        deployment("new", app="web"),
        deployment("old", app="web", image="shop/web:0.9", replicas=2),
        deployment("third", app="web"),
        service(),
        guard("deployment: new\nfallback: {deployment: old}"),
    )
    (wanted,) = catalogue.wanted
    assert wanted.documents == (("app.yaml", "Deployment", "new"),)
    assert wanted.fallback is not None
    assert (wanted.fallback.workload.image, wanted.fallback_replicas) == ("shop/web:0.9", 2)
    assert wanted.fallback.service == "web"
    assert any("Deployment third is not run" in notice for notice in catalogue.notices)


def test_a_fallback_is_no_service_of_its_own():
    """The standing rollback target belongs to the service that it stands by."""
    catalogue = load_texts(deployment(), deployment("web-old"), guard("fallback: {deployment: web-old}"))
    assert [wanted.service.name for wanted in catalogue.wanted] == ["web"]


def test_the_documents_of_a_service_are_those_that_shape_its_version():
    """A rollback restores exactly these: neither the Service nor the Guard nor another service's files."""
    catalogue = load(
        {
            "web.yaml": deployment(container="envFrom: [{configMapRef: {name: settings}}]"),
            "api/service.yaml": service(),
            "config.yaml": config_map(),
            "other.yaml": config_map("unused"),
            "guard.yaml": guard(),
            "mesh.yaml": policy("timeout: 2s"),
            "route.yaml": route("timeouts: {request: 1s}"),
            "keys.yaml": secret(),
            "images.yaml": "images: {shop/web: run}",
        }
    )
    assert catalogue.wanted[0].documents == (
        ("config.yaml", "ConfigMap", "settings"),
        ("mesh.yaml", "MeshPolicy", "policy"),
        ("route.yaml", "HTTPRoute", "web-route"),
        ("web.yaml", "Deployment", "web"),
    )


def test_the_environment_is_what_kubernetes_would_set():
    """Values, keys, whole ConfigMaps with prefix, fields, and $(NAME) of what stands before; later ones win."""
    wanted = one(
        config_map(data='{COLOUR: blue, SIZE: "3"}'),
        deployment(
            container="""\
            envFrom:
            - {configMapRef: {name: settings}}
            - {configMapRef: {name: settings}, prefix: APP_}
            - {configMapRef: {name: absent, optional: true}}
            env:
            - {name: COLOUR, value: red}
            - {name: PLAIN}
            - {name: PICKED, valueFrom: {configMapKeyRef: {name: settings, key: SIZE}}}
            - {name: MISSING, valueFrom: {configMapKeyRef: {name: settings, key: none, optional: true}}}
            - {name: SPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
            - {name: TEXT, value: "$(COLOUR)-$(PICKED) $$(COLOUR) $(LATER)"}
            - {name: LATER, value: x}
            args: ["--size=$(SIZE)"]
            """
        ),
    )
    assert env_of(wanted) == {
        "APP": "web",
        "APP_COLOUR": "blue",
        "APP_SIZE": "3",
        "COLOUR": "red",
        "LATER": "x",
        "PICKED": "3",
        "PLAIN": "",
        "SIZE": "3",
        "SPACE": "default",
        "TEXT": "red-3 $(COLOUR) $(LATER)",
    }
    assert wanted.version.workload.args == ("--size=3",)


def test_a_secret_value_stands_nowhere_in_what_is_wanted():
    """Only a digest, which tells a change, goes on to the journal; the platform looks the value up itself."""
    documents = (
        secret(data="{TOKEN: c2VzYW1l}\nstringData: {PIN: hunter2}"),
        deployment(
            container="""\
            envFrom: [{secretRef: {name: keys}}]
            env: [{name: T, valueFrom: {secretKeyRef: {name: keys, key: TOKEN}}}]
            """
        ),
    )
    catalogue = load_texts(*documents)
    env = env_of(catalogue.wanted[0])
    assert set(env) == {"PIN", "T", "TOKEN"}
    assert isinstance(env["T"], SecretKey)
    assert (env["T"].name, env["T"].key) == ("keys", "TOKEN")
    assert "sesame" not in repr(catalogue)
    assert "hunter2" not in repr(catalogue)
    files = {"app.yaml": "---\n".join(documents)}
    assert secret_value(files, "keys", "TOKEN") == "sesame"
    assert secret_value(files, "keys", "PIN") == "hunter2"


@pytest.mark.parametrize(("name", "key"), [("keys", "TOKN"), ("kys", "TOKEN")])
def test_a_secret_that_is_not_there_is_an_error_without_values(name, key):
    """The message names what is missing and never a value."""
    with pytest.raises(InvalidInput) as caught:
        secret_value({"app.yaml": secret()}, name, key)
    assert "sesame" not in str(caught.value)


def test_a_config_map_volume_becomes_files():
    """Every key is a file; `items` renames, `subPath` puts one file at the mount path itself."""
    wanted = one(
        config_map(data='{app.ini: "a=1", extra: more}'),
        deployment(
            container="""\
            volumeMounts:
            - {name: all, mountPath: /etc/all}
            - {name: some, mountPath: /etc/some/}
            - {name: all, mountPath: /opt/app.conf, subPath: app.ini}
            - {name: scratch, mountPath: /tmp/x}
            """,
            pod="""\
            volumes:
            - {name: all, configMap: {name: settings}}
            - {name: some, configMap: {name: settings, items: [{key: extra, path: deep/extra.txt}]}}
            - {name: scratch, emptyDir: {}}
            """,
        ),
    )
    assert wanted.version.workload.files == (
        ConfigFile(path="/etc/all/app.ini", content="a=1"),
        ConfigFile(path="/etc/all/extra", content="more"),
        ConfigFile(path="/etc/some/deep/extra.txt", content="more"),
        ConfigFile(path="/opt/app.conf", content="a=1"),
    )


def test_probes_and_grace_are_taken_over_with_kubernetes_defaults():
    """Each probe has one way of asking; what is not written has Kubernetes' default."""
    workload = one(
        deployment(
            ports="[{containerPort: 8080, name: http}]",
            container="""\
            readinessProbe: {httpGet: {path: ready, port: http}, periodSeconds: 1, initialDelaySeconds: 2}
            livenessProbe: {exec: {command: [test, -f, /x]}, timeoutSeconds: 0}
            startupProbe: {tcpSocket: {port: 8080}, failureThreshold: 30}
            """,
            pod="terminationGracePeriodSeconds: 5",
        )
    ).version.workload
    assert workload.readiness == Probe(http_path="/ready", period_s=1.0, initial_delay_s=2.0)
    assert workload.liveness == Probe(exec_command=("test", "-f", "/x"))
    assert workload.startup == Probe(tcp=True, failure_threshold=30)
    assert workload.grace_s == 5.0


def test_a_mesh_policy_says_everything_that_the_mesh_can_do():
    """Every field of the manifest reaches the domain's value."""
    wanted = one(
        deployment(),
        policy(
            """\
            timeout: 1500ms
            retries: {attempts: 2, perTryTimeout: 400ms, retryOn: [5xx, reset], backOff: 10ms}
            loadBalancing: {policy: RING_HASH, hashHeader: x-user}
            circuitBreaker: {maxConnections: 1, maxPendingRequests: 2, maxRequests: 3, maxRetries: 4}
            outlierDetection: {consecutive5xx: 3, interval: 2s, baseEjection: 30s, maxEjection: 20%}
            healthCheck: {path: /healthz, interval: 3s, timeout: 1s, unhealthyThreshold: 4, healthyThreshold: 2}
            fault: {abort: {percent: 1, status: 500}, delay: {percent: 0.5, for: 2s}}
            """
        ),
    )
    assert wanted.version.policy == MeshPolicy(
        timeout_ms=1500,
        retries=Retries(attempts=2, per_try_timeout_ms=400, on=("5xx", "reset"), back_off_ms=10),
        load_balancing=LoadBalancing.RING_HASH,
        hash_header="x-user",
        circuit_breaker=CircuitBreaker(max_connections=1, max_pending_requests=2, max_requests=3, max_retries=4),
        outlier_detection=OutlierDetection(
            consecutive_5xx=3, interval_ms=2000, base_ejection_ms=30_000, max_ejection_percent=20
        ),
        health_check=HealthCheck(
            path="/healthz", interval_ms=3000, timeout_ms=1000, unhealthy_threshold=4, healthy_threshold=2
        ),
        fault=Fault(abort_percent=1.0, abort_status=500, delay_percent=0.5, delay_ms=2000),
    )


@pytest.mark.parametrize("part", ["outlierDetection: {}", "healthCheck: {path: /}"])
def test_the_defaults_of_a_part_are_those_of_the_domain(part):
    """There is one source of defaults."""
    written = one(deployment(), policy(part)).version.policy
    assert written in (MeshPolicy(outlier_detection=OutlierDetection()), MeshPolicy(health_check=HealthCheck(path="/")))


def test_a_route_gives_rules_in_gateway_apis_order_of_precedence():
    """Exact paths first, then longer prefixes, then methods, then headers; a rule has one entry for each match."""
    wanted = one(
        deployment(),
        route(
            """\
            matches:
            - {path: {value: /a}}
            - {path: {value: /a/long}}
            - {path: {value: /a}, method: POST}
            - {path: {type: Exact, value: /z}}
            - {headers: [{name: X-Kind, value: big}]}
            timeouts: {request: 2s, backendRequest: 500ms}
            retry: {codes: [502, 503, 504], attempts: 3, backoff: 40ms}
            filters:
            - type: RequestHeaderModifier
              requestHeaderModifier: {set: [{name: x-a, value: "1"}], remove: [x-b]}
            - type: ResponseHeaderModifier
              responseHeaderModifier: {set: [{name: x-c, value: "2"}]}
            backendRefs: [{name: web, port: 8080}]
            """
        ),
    )
    rules = wanted.version.policy.rules
    assert [rule.match for rule in rules] == [
        Match(path_exact="/z"),
        Match(path_prefix="/a/long"),
        Match(path_prefix="/a", method="POST"),
        Match(path_prefix="/a"),
        Match(path_prefix="/", headers=(("x-kind", "big"),)),
    ]
    assert rules[0] == RouteRule(
        match=Match(path_exact="/z"),
        timeout_ms=2000,
        retries=Retries(
            attempts=3, per_try_timeout_ms=500, on=("gateway-error", "reset", "connect-failure"), back_off_ms=40
        ),
        set_request_headers=(("x-a", "1"),),
        remove_request_headers=("x-b",),
        set_response_headers=(("x-c", "2"),),
    )


def test_images_are_commands_with_their_folder():
    """A command is a line, a list or a mapping; it is started in the folder of the manifests or below it."""
    images = load_texts(
        images="""\
        images:
          shop/web: "{python} -m web --name 'a b'"
          shop/web:2.0: [run, "{tag}"]
          shop/stock:
            command: ./stock
            env: {MODE: fast}
            workingDir: stock
          shop/abs: {command: x, workingDir: /opt/x}
        """
    ).images
    assert images.commands == (
        ImageCommand(image="shop/abs", command=("x",), working_dir="/opt/x"),
        ImageCommand(
            image="shop/stock", command=("./stock",), env=(("MODE", "fast"),), working_dir="/srv/manifests/stock"
        ),
        ImageCommand(
            image="shop/web", command=("{python}", "-m", "web", "--name", "a b"), working_dir="/srv/manifests"
        ),
        ImageCommand(image="shop/web:2.0", command=("run", "{tag}"), working_dir="/srv/manifests"),
    )


def test_what_is_not_used_is_accepted_with_a_notice():
    """Other kinds and fields without a meaning on one machine are told of, never silently dropped."""
    catalogue = load_texts(
        deployment(
            container="resources: {limits: {cpu: 1}}\nsecurityContext: {runAsNonRoot: true}",
            pod="affinity: {nodeAffinity: {}}\ntolerations: []",
        ),
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: front}\nspec: {rules: []}",
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: fn}",
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\n"
        "spec: {template: {metadata: {labels: {app: db}}}}",
        service("db"),
        service().replace("  ports:", "  type: NodePort\n  sessionAffinity: ClientIP\n  ports:"),
    )
    assert [wanted.service.name for wanted in catalogue.wanted] == ["web"]
    assert [notice.partition(": ")[2] for notice in catalogue.notices] == [
        "Ingress front (networking.k8s.io/v1) is not used here",
        "Service fn (serving.knative.dev/v1) is not used here",
        "StatefulSet db (apps/v1) is not used here",
        "Service db is not used here: it selects a StatefulSet",
        "Service web: not used on this machine: sessionAffinity, type",
        "Deployment web: not used on this machine: affinity, resources, securityContext",
    ]


def test_a_further_service_of_a_deployment_is_noted():
    """A Deployment is run once: under its own name, or the name that a Guard uses."""
    catalogue = load_texts(deployment(), service("web"), service("web-admin", app="web"))
    assert [wanted.service.name for wanted in catalogue.wanted] == ["web"]
    assert "Service web-admin is not used here: Deployment web is called as web" in catalogue.notices[0]


def test_services_that_share_a_port_are_noted():
    """Two Services may have the same port in a cluster; on one machine each has an address of its own."""
    same = "[{port: 8080}]"
    catalogue = load_texts(deployment(), service(ports=same), deployment("api"), service("api", ports=same))
    assert [wanted.service.port for wanted in catalogue.wanted] == [8080, 8080]
    assert "services api and web share port 8080" in catalogue.notices[0]


def test_lists_anchors_merges_empty_documents_and_comments_are_read():
    """Whatever YAML a Kubernetes manifest may be written in is read as Kubernetes reads it."""
    text = """\
# nothing here
---
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: &meta {name: web}
  spec:
    selector: {matchLabels: &labels {app: web}}
    template:
      metadata: {labels: *labels}
      spec:
        containers:
        - &main
          name: main
          image: shop/web:1.0.0
          ports: [{containerPort: 8080}]
          env:
          - {name: BASE, value: 1:30}
          - {name: DAY, value: 2024-01-02}
- apiVersion: v1
  kind: ConfigMap
  metadata: {<<: *meta, name: "on"}
  data: {on: "1", off: "2", 1: "3"}
---
"""
    wanted = one(text)
    assert env_of(wanted) == {"BASE": "1:30", "DAY": "2024-01-02"}
    assert wanted.service.name == "web"


def test_of_merged_mappings_the_first_wins_and_own_keys_win_over_all():
    """`<<` follows YAML's own rule, so that a manifest means here what it means elsewhere."""
    text = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: &a {A: first, B: first, C: first}, annotations: &b {B: second, D: second}}
data: {<<: [*a, *b], C: own}
"""
    assert env_of(one(text, deployment(container="envFrom: [{configMapRef: {name: settings}}]"))) == {
        "A": "first",
        "B": "first",
        "C": "own",
        "D": "second",
    }


def test_only_yaml_files_outside_hidden_folders_are_read():
    """A README, a program and a CI configuration beside the manifests are left alone."""
    files = {
        "web.yaml": "\ufeff" + deployment().replace("\n", "\r\n"),
        "README.md": "# not: [yaml",
        ".ci/job.yaml": "steps: [",
        "images.yml": "images: {shop/web: run}",
    }
    assert [wanted.service.name for wanted in load(files).wanted] == ["web"]


def test_an_empty_folder_wants_nothing():
    """No manifests is no mistake."""
    assert load({}).wanted == ()
