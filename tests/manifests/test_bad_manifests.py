"""Bad input: each case is (manifests, every problem that must be reported)."""

import pytest
from manifest_texts import (
    IMAGES,
    config_map,
    deployment,
    guard,
    policy,
    problems_of,
    route,
    secret,
    service,
    together,
)

from sternway.errors import InvalidInput
from sternway.manifests.load import load

WEB = deployment()
SIDECAR = "- {name: proxy, image: envoy}"
CONTAINER = "spec.template.spec.containers[0]"


def case(name: str, manifests: str, *expected: str) -> object:
    """One row of the table: the problems are given as a person reads them, after the file's name."""
    return pytest.param(manifests, expected, id=name)


YAML_CASES = [
    case(
        "malformed",
        "a: [1\nb: 2\n",
        "2: this is no YAML: while parsing a flow sequence, did not find expected ',' or ']'",
    ),
    case(
        "tab",
        "a:\n\tb: 1\n",
        "2: this is no YAML: while scanning for the next token, found character that cannot start any token "
        "(indent with spaces, not with tabs)",
    ),
    case(
        "control-character",
        "a: 1\nb: \x07\n",
        "2: this is no YAML: control characters are not allowed",
    ),
    case("unknown-alias", "a: *b\n", "1: this is no YAML: found undefined alias"),
    case("alias-in-itself", "a: &x [*x]\n", "1: a[0]: an alias stands inside its own anchor (write the value out)"),
    case(
        "template",
        "kind: {{ .Values.kind }}\n",
        "1: kind: a key must be plain text (is this a template? render it first, then commit the result)",
    ),
    case(
        "duplicate-key",
        WEB.replace("  replicas: 1", "  replicas: 1\n  replicas: 2"),
        "6: spec.replicas: `replicas` stands twice, on the lines 5 and 6 (keep one of them)",
    ),
    case(
        "merge-of-no-mapping",
        "a: &a 1\nb: {<<: *a}\n",
        "2: b: `<<` takes a mapping (name an anchor that stands on a mapping)",
    ),
    case(
        "mistake-beside-a-merge",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: x}\ndata:\n  <<: *m\n  name: 1\n",
        '6: data.name: the value must be text (quote it: name: "…")',
    ),
    case("tag", "a: !vault x\n", "1: a: the tag !vault means nothing here (leave the tag out)"),
    case("list", "- 1\n", "1: a manifest must be a mapping (begin with `apiVersion:` and `kind:`)"),
    case("text", "hello\n", "1: a manifest must be a mapping (begin with `apiVersion:` and `kind:`)"),
    case(
        "no-kind",
        "apiVersion: v1\n",
        "1: `kind` is missing (add `kind`, or move this file out of the folder)",
    ),
    case(
        "misspelt-kind-field",
        "apiversion: v1\nkind: Service\n",
        "1: apiversion: unknown field `apiversion` (did you mean `apiVersion`?)",
    ),
    case(
        "misspelt-kind",
        WEB.replace("Deployment", "Deploymnt"),
        "2: kind: unknown kind `Deploymnt` (did you mean `Deployment`?)",
    ),
    case(
        "misspelt-kind-of-ours",
        guard().replace("kind: Guard", "kind: Gard"),
        "2: kind: unknown kind `Gard` (did you mean `Guard`?)",
    ),
    case(
        "old-api-version",
        WEB.replace("apps/v1", "extensions/v1beta1"),
        "1: apiVersion: Deployment is read as apps/v1, not extensions/v1beta1 (write apps/v1)",
    ),
    case(
        "misspelt-api-version",
        WEB.replace("apps/v1", "app/v1"),
        "1: apiVersion: Deployment is read as apps/v1, not app/v1 (write apps/v1)",
    ),
    case(
        "items-of-a-list",
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {nam: x}\n",
        "6: metadata: `name` is missing (add `name`)",
        "6: metadata.nam: unknown field `nam` (did you mean `name`?)",
    ),
]

FIELD_CASES = [
    case(
        "unknown-field",
        WEB.replace("  replicas: 1", "  replica: 1"),
        "5: spec.replica: unknown field `replica` (did you mean `replicas`?)",
    ),
    case(
        "unknown-field-deep-inside",
        deployment(container="readinessProbe: {httpGet: {path: /, port: 8080}, periodSecond: 1}"),
        f"14: {CONTAINER}.readinessProbe.periodSecond: unknown field `periodSecond` (did you mean `periodSeconds`?)",
    ),
    case(
        "number-for-text",
        deployment(container="env: [{name: LIMIT, value: 10}]"),
        f'14: {CONTAINER}.env[0].value: must be text, not 10 (quote it: "10")',
    ),
    case(
        "truth-for-text",
        deployment(container="env: [{name: DEBUG, value: yes}]"),
        f"14: {CONTAINER}.env[0].value: must be text, not true (put it in quotes)",
    ),
    case(
        "text-for-number",
        WEB.replace("replicas: 1", 'replicas: "1"'),
        "5: spec.replicas: must be a number, not '1' (write 1 without quotes)",
    ),
    case(
        "negative",
        WEB.replace("replicas: 1", "replicas: -1"),
        "5: spec.replicas: must be at least 0, not -1 (change the number)",
    ),
    case(
        "port-out-of-range",
        deployment(ports="[{containerPort: 70000}]"),
        f"13: {CONTAINER}.ports[0].containerPort: must be at most 65535, not 70000 (change the number)",
    ),
    case(
        "missing-field",
        WEB.replace("metadata: {name: web}", "metadata: {}"),
        "3: metadata: `name` is missing (add `name`)",
    ),
    case(
        "bad-name",
        WEB.replace("{name: web}", "{name: Web_1}"),
        "3: metadata.name: does not have the right form, not 'Web_1' "
        "(use lower-case letters, digits and dashes; begin and end with a letter or digit)",
    ),
    case(
        "mapping-expected",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: x\n",
        "3: metadata: must be a mapping, not 'x' (write `field: value` lines, indented below it)",
    ),
    case(
        "list-expected",
        deployment(container="args: --verbose"),
        f"14: {CONTAINER}.args: must be a list, not '--verbose' (write each item on a line that begins with `- `)",
    ),
    case(
        "probe-in-two-ways",
        deployment(container="livenessProbe: {httpGet: {port: 8080}, exec: {command: [ls]}}"),
        f"14: {CONTAINER}.livenessProbe: a probe asks in exactly one way (write one of httpGet, tcpSocket, exec)",
    ),
    case(
        "secret-value-is-not-repeated",
        secret(data="{TOKEN: 123456}"),
        '4: data.TOKEN: the value must be text (quote it: TOKEN: "…")',
    ),
    case(
        "secret-no-base64",
        secret(data="{TOKEN: hunter!}"),
        "4: data.TOKEN: the value is no text in base64 (encode it with `base64`, or write it as text under stringData)",
    ),
]

GUARD_CASES = [
    case(
        "steps-do-not-rise",
        together(WEB, guard("strategy: {canary: {steps: [{percent: 10}, {percent: 5}]}}")),
        "20: spec.strategy.canary.steps[1].percent: the steps do not rise: 5 comes after 10 "
        "(write more than 10, or take this step out)",
    ),
    case(
        "caps-do-not-rise",
        together(WEB, guard("strategy: {canary: {steps: [{requestsPerSecond: 5}, {requestsPerSecond: 5}]}}")),
        "20: spec.strategy.canary.steps[1].requestsPerSecond: the steps do not rise: 5 comes after 5 "
        "(write more than 5, or take this step out)",
    ),
    case(
        "cap-after-a-percentage",
        together(WEB, guard("strategy: {canary: {steps: [{percent: 5}, {requestsPerSecond: 5}]}}")),
        "20: spec.strategy.canary.steps[1].requestsPerSecond: a cap in requests per second comes after a percentage "
        "(put the caps first: they are the smaller exposure)",
    ),
    case(
        "weight-over-100",
        together(WEB, guard("strategy:\n  canary:\n    steps:\n    - percent: 10\n    - percent: 101%")),
        "24: spec.strategy.canary.steps[1].percent: 101 % is more than all of it (write at most 100)",
    ),
    case(
        "weight-of-nothing",
        together(WEB, guard("mirror: {percent: 0}")),
        "20: spec.mirror.percent: 0 % is nothing (write at least 0.0001, or leave it out)",
    ),
    case(
        "no-steps",
        together(WEB, guard("strategy: {canary: {steps: []}}")),
        "20: spec.strategy.canary.steps: must not be empty (write at least one item, or take the field out)",
    ),
    case(
        "step-of-both-kinds",
        together(WEB, guard("strategy: {canary: {steps: [{percent: 5, requestsPerSecond: 5}]}}")),
        "20: spec.strategy.canary.steps[0]: a step needs exactly one of percent, requestsPerSecond and usersHurt (write one of them)",
    ),
    case(
        "two-strategies",
        together(WEB, guard("strategy: {canary: {}, blueGreen: {}}")),
        "20: spec.strategy: a strategy is exactly one of adaptive, canary, blueGreen, ab; here: canary, blueGreen "
        "(keep one of them (`adaptive: {}` is the default))",
    ),
    case(
        "duration-without-unit",
        together(WEB, guard("bake: {for: 30}")),
        "20: spec.bake.for: 30 has no unit (write `30s` for seconds)",
    ),
    case(
        "endless-duration",
        together(WEB, guard("bake: {for: 10000d}")),
        "20: spec.bake.for: 10000d is longer than a year (write a shorter duration)",
    ),
    case(
        "count-beyond-what-a-proxy-counts",
        together(WEB, policy("circuitBreaker: {maxRequests: 3000000000}")),
        "20: spec.circuitBreaker.maxRequests: must be at most 2147483647, not 3000000000 (change the number)",
    ),
    case(
        "header-of-two-lines",
        together(WEB, guard('strategy: {ab: {header: {name: a, value: "b\\nc"}}}')),
        "20: spec.strategy.ab.header.value: the value holds control characters (write it on one line)",
    ),
    case(
        "header-with-a-blank",
        together(WEB, guard("judge: {clusterKey: {header: x user}}")),
        "20: spec.judge.clusterKey.header: 'x user' is no name of a header or cookie (use letters, digits and dashes)",
    ),
    case(
        "no-duration",
        together(WEB, guard("keep: soon")),
        "20: spec.keep: 'soon' is no duration (write for example `250ms`, `30s`, `5m` or `1h30m`)",
    ),
    case(
        "misspelt-choice",
        together(WEB, guard("mode: automatc")),
        "20: spec.mode: must be one of automatic, ask, not 'automatc' (did you mean `automatic`?)",
    ),
    case(
        "misspelt-field-of-a-step",
        together(WEB, guard("strategy: {canary: {steps: [{percent: 5, minRequest: 3}]}}")),
        "20: spec.strategy.canary.steps[0].minRequest: unknown field `minRequest` (did you mean `minRequests`?)",
    ),
    case(
        "chance-over-one",
        together(WEB, guard("judge: {falseRollbackRate: 5}")),
        "20: spec.judge.falseRollbackRate: 5 is no chance between 0 and 1 (write for example `0.01` or `1%`)",
    ),
    case(
        "no-quantile",
        together(WEB, guard("judge: {objectives: {latency: {max: 1s}}}")),
        "20: spec.judge.objectives.latency.max: `max` is no quantile (write for example `p99: 500ms`)",
    ),
    case(
        "header-and-cookie",
        together(WEB, guard("strategy: {ab: {header: {name: a, value: b}, cookie: {name: a, value: b}}}")),
        "20: spec.strategy.ab: an A/B test needs either header or cookie (write one of them)",
    ),
    case(
        "hash-without-header",
        together(WEB, policy("loadBalancing: {policy: RING_HASH}")),
        "20: spec.loadBalancing: RING_HASH needs hashHeader (name the request header whose value chooses the replica)",
    ),
    case(
        "try-longer-than-request",
        together(WEB, policy("timeout: 1s\nretries: {attempts: 1, perTryTimeout: 2s}")),
        "21: spec.retries.perTryTimeout: one try may take 2s, longer than the whole request (1s) "
        "(write a shorter perTryTimeout)",
    ),
    case(
        "timeout-of-nothing",
        together(WEB, policy("timeout: 0s")),
        "20: spec.timeout: the duration is shorter than 1 ms (write at least `1ms`)",
    ),
]

WHOLE_CASES = [
    case(
        "two-guards",
        together(WEB, guard(), guard(name="other")),
        "25: spec.service: a second Guard for service web; the first stands in app.yaml:15 (keep one of them)",
    ),
    case(
        "two-policies",
        together(WEB, policy(), policy(name="other")),
        "25: spec.service: a second MeshPolicy for service web; the first stands in app.yaml:15 (keep one of them)",
    ),
    case(
        "guard-for-an-unknown-service",
        together(WEB, guard(service="wab")),
        "19: spec.service: a Guard for service wab, which is not there (did you mean `web`?)",
    ),
    case(
        "twice-the-same",
        together(WEB, WEB),
        "15: metadata.name: Deployment web stands twice, also in app.yaml:1 (keep one)",
    ),
    case(
        "fallback-not-there",
        together(WEB, deployment("stock"), guard("fallback: {deployment: stok}")),
        "34: spec.fallback.deployment: the fallback Deployment stok is not there (did you mean `stock`?)",
    ),
    case(
        "gate-of-a-cluster",
        together(WEB, guard("gates:\n- name: smoke\n  job: {template: {spec: {containers: [{name: a, image: b}]}}}")),
        "22: spec.gates[0].job: gate smoke is a Job, which needs a cluster (write `command` on one machine)",
    ),
    case(
        "gate-with-an-open-quotation",
        together(WEB, guard('gates:\n- name: smoke\n  command: "sh -c \'exit"')),
        "22: spec.gates[0].command: the command of gate smoke cannot be read: a quotation mark is not closed, or it is empty "
        "(mend the command line)",
    ),
    case(
        "gate-without-anything-to-run",
        together(WEB, guard("gates: [{name: smoke}]")),
        "20: spec.gates[0]: a gate needs either job or command (write `job` in a cluster, `command` on one machine)",
    ),
    case(
        "gate-twice",
        together(WEB, guard("gates: [{name: smoke, command: a}, {name: smoke, command: b}]")),
        "20: spec.gates[1].name: the gate smoke stands there twice (rename one)",
    ),
    case(
        "gate-before-a-step-that-is-not-there",
        together(WEB, guard("strategy: {blueGreen: {}}\ngates: [{name: smoke, command: a, before: step 2}]")),
        "21: spec.gates[0].before: the strategy has no step 2, but 1 in all (name a step that there is, or `promotion`)",
    ),
    case(
        "mesh-of-a-cluster",
        together(WEB, guard("mesh: istio")),
        "20: spec.mesh: `mesh: istio` chooses among the meshes of a cluster; on one machine there is Sternway's own "
        "(take `mesh` out)",
    ),
    case(
        "fallback-is-itself",
        together(WEB, guard("fallback: {deployment: web}")),
        "20: spec.fallback.deployment: the fallback of web is the Deployment that is released "
        "(name another Deployment)",
    ),
    case(
        "fallback-without-replicas",
        together(WEB, deployment("old", replicas=0), guard("fallback: {deployment: old}")),
        "19: spec.replicas: the fallback Deployment old has no replicas (a standing rollback target needs at least one)",
    ),
    case(
        "fallback-without-port",
        together(WEB, deployment("old", ports=""), guard("fallback: {deployment: old}")),
        f"25: {CONTAINER}: the fallback Deployment old opens no port (add `ports` to the container)",
    ),
    case(
        "several-deployments",
        together(deployment("a", app="web"), deployment("b", app="web"), service()),
        "33: spec.selector: Service web selects several Deployments: a, b "
        "(say in a Guard which one is released (`deployment`) and which one stands by (`fallback`))",
    ),
    case(
        "guard-names-another-deployment",
        together(WEB, deployment("b"), service(), guard("deployment: b")),
        "41: spec.deployment: Service web does not select a Deployment b (there is: web)",
    ),
    case(
        "guard-names-a-deployment-that-its-service-is-not",
        together(WEB, deployment("b"), guard("deployment: b")),
        "34: spec.deployment: service web is the Deployment web, not b (take `deployment` out)",
    ),
    case(
        "selector-finds-nothing",
        together(WEB, service(app="wed")),
        "19: spec.selector: Service web selects no Deployment: none has the pod labels app=wed (did you mean `app=web`?)",
    ),
    case(
        "selector-finds-nothing-and-has-a-guard",
        together(WEB, service("api", app="wed"), guard(service="api")),
        "19: spec.selector: Service api selects no Deployment: none has the pod labels app=wed (did you mean `app=web`?)",
    ),
    case(
        "deployment-under-a-taken-name",
        together(deployment("web"), deployment("api"), service(app="api")),
        "3: metadata.name: no Service selects Deployment web, and its name is taken by a Service "
        "(mend the Service's selector, or rename the Deployment)",
    ),
    case(
        "one-deployment-behind-two-services",
        together(WEB, service("a", app="web"), service("b", app="web")),
        "26: spec.selector: Deployment web stands behind several Services: a, b "
        "(keep one of them, give one the Deployment's name, or write a Guard for one)",
    ),
    case(
        "policy-in-another-namespace",
        together(WEB, policy().replace("{name: policy}", "{name: policy, namespace: b}")),
        "19: spec.service: service web is in the namespace default, not in b (write `namespace: default`)",
    ),
    case(
        "own-selector-finds-nothing",
        WEB.replace("matchLabels: {app: web}", "matchLabels: {app: wed}"),
        "6: spec.selector.matchLabels: the selector does not match the labels of the pod template "
        "(write the same labels under spec.template.metadata.labels)",
    ),
    case(
        "container-without-port",
        together(deployment(ports=""), service()),
        f"11: {CONTAINER}: Service web leads to port 8080, but Deployment web opens none "
        "(add `ports: [{containerPort: 8080}]` to the container)",
    ),
    case(
        "another-port",
        together(WEB, service(ports="[{port: 80, targetPort: 9090}]")),
        "20: spec.ports[0].targetPort: Service web leads to port 9090, which Deployment web does not open "
        "(there is: 8080)",
    ),
    case(
        "misspelt-port-name",
        together(
            deployment(ports="[{containerPort: 8080, name: http}]"), service(ports="[{port: 80, targetPort: htpp}]")
        ),
        "20: spec.ports[0].targetPort: Service web leads to port htpp, which Deployment web does not open "
        "(did you mean `http`?)",
    ),
    case(
        "only-udp",
        together(WEB, service(ports="[{port: 53, protocol: UDP}]")),
        "20: spec.ports: only TCP ports are served (add a port with protocol TCP)",
    ),
    case(
        "sidecar",
        WEB.replace("      - name: main", f"      {SIDECAR}\n      - name: main").replace(
            "image: envoy", "image: shop/web, ports: [{containerPort: 8080}]"
        ),
        "12: spec.template.spec.containers[1]: several containers in one pod: sidecars (main) are not run on this "
        "machine (keep one container; the mesh is there already)",
    ),
    case(
        "init-container",
        deployment(pod="initContainers: [{name: wait, image: busybox}]"),
        "14: spec.template.spec.initContainers: init containers are not run on this machine "
        "(do its work when the service starts, or in the command of images.yaml)",
    ),
    case(
        "config-map-not-there",
        together(config_map(), deployment(container="envFrom: [{configMapRef: {name: setings}}]")),
        f"19: {CONTAINER}.envFrom[0].configMapRef.name: there is no ConfigMap setings "
        "(add it, or did you mean `settings`?)",
    ),
    case(
        "config-key-not-there",
        together(
            config_map(),
            deployment(container="env: [{name: C, valueFrom: {configMapKeyRef: {name: settings, key: COLOR}}}]"),
        ),
        f"19: {CONTAINER}.env[0].valueFrom.configMapKeyRef.key: ConfigMap settings has no key `COLOR` "
        "(did you mean `COLOUR`?)",
    ),
    case(
        "secret-not-there",
        deployment(container="env: [{name: T, valueFrom: {secretKeyRef: {name: keys, key: TOKEN}}}]"),
        f"14: {CONTAINER}.env[0].valueFrom.secretKeyRef.name: there is no Secret keys "
        "(add it, or mark the reference `optional: true`)",
    ),
    case(
        "secret-in-plain-text",
        together(
            secret(),
            deployment(
                container="""\
                env:
                - {name: T, valueFrom: {secretKeyRef: {name: keys, key: TOKEN}}}
                - {name: URL, value: http://$(T)@host}
                args: [--token=$(T)]
                """
            ),
        ),
        f"21: {CONTAINER}.env[1].value: $(T) would write a Secret's value into plain text "
        "(put the whole text into the Secret, or build it in the program)",
        f"22: {CONTAINER}.args[0]: $(T) would write a Secret's value into plain text "
        "(put the whole text into the Secret, or build it in the program)",
    ),
    case(
        "secret-volume",
        deployment(
            container="volumeMounts: [{name: v, mountPath: /v}]", pod="volumes: [{name: v, secret: {secretName: keys}}]"
        ),
        "15: spec.template.spec.volumes[0].secret: secret volumes are not written to this machine "
        "(take the values as environment variables (secretKeyRef), or mount a ConfigMap)",
    ),
    case(
        "volume-not-there",
        deployment(container="volumeMounts: [{name: v, mountPath: /v}]"),
        f"14: {CONTAINER}.volumeMounts[0].name: there is no volume `v` (take it out)",
    ),
    case(
        "volume-leads-upwards",
        together(
            config_map(),
            deployment(
                container="volumeMounts: [{name: v, mountPath: /v}]",
                pod="volumes: [{name: v, configMap: {name: settings, items: [{key: COLOUR, path: ../../x}]}}]",
            ),
        ),
        "20: spec.template.spec.volumes[0].configMap.items[0].path: the path must lead into the volume "
        "(write a relative path without `..`)",
    ),
    case(
        "volume-item-not-there",
        together(
            config_map(),
            deployment(
                container="volumeMounts: [{name: v, mountPath: /v}]",
                pod="volumes: [{name: v, configMap: {name: settings, items: [{key: COLOR, path: x}]}}]",
            ),
        ),
        "20: spec.template.spec.volumes[0].configMap.items[0].key: ConfigMap settings has no key `COLOR` "
        "(did you mean `COLOUR`?)",
    ),
    case(
        "probe-on-another-port",
        deployment(
            ports="[{containerPort: 8080}, {containerPort: 9090, name: admin}]",
            container="livenessProbe: {httpGet: {port: admin}}",
        ),
        f"14: {CONTAINER}.livenessProbe.httpGet.port: the probe asks port 9090, but a replica has one port here: 8080 "
        "(probe port 8080)",
    ),
    case(
        "grpc-probe",
        deployment(container="livenessProbe: {grpc: {port: 8080}}"),
        f"14: {CONTAINER}.livenessProbe.grpc: gRPC probes are not made on this machine (use httpGet, tcpSocket or exec)",
    ),
    case(
        "unknown-pod-field",
        deployment(container="env: [{name: N, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]"),
        f"14: {CONTAINER}.env[0].valueFrom.fieldRef.fieldPath: `spec.nodeName` is not known on this machine "
        "(there is: metadata.name, metadata.namespace, spec.serviceAccountName, status.hostIP, status.podIP)",
    ),
    case(
        "image-without-mapping",
        deployment(image="shop/stock:2.0"),
        f"12: {CONTAINER}.image: images.yaml does not say what the image shop/stock:2.0 means on this machine "
        '(add to images.yaml, below `images:`, the line `  shop/stock: "COMMAND --port {port}"`)',
    ),
    case(
        "one-name-in-two-namespaces",
        together(WEB, WEB.replace("{name: web}", "{name: web, namespace: b}")),
        "17: metadata.name: Deployment web stands in the namespaces default and b (give each Deployment a name of its own)",
    ),
]


def _route_case(name: str, rule: str, *expected: str, spec: str = "") -> object:
    return case(f"route-{name}", together(WEB, route(rule, spec=spec)), *expected)


RULE = "spec.rules[0]"
ROUTE_CASES = [
    _route_case(
        "split",
        "backendRefs: [{name: web, weight: 1}, {name: other, weight: 1}]",
        f"21: {RULE}.backendRefs[1].name: a route of web cannot send requests to Service other "
        "(leave backendRefs out: Sternway shares the traffic between the versions of the service)",
        f"21: {RULE}.backendRefs: traffic is not split by a route's backends "
        "(leave backendRefs out: Sternway shares the traffic between the versions of the service)",
    ),
    _route_case(
        "regex-path",
        "matches: [{path: {type: RegularExpression, value: '/a.*'}}]",
        f"21: {RULE}.matches[0].path.type: regular expressions are not matched here (use PathPrefix or Exact)",
    ),
    _route_case(
        "regex-header",
        "matches: [{headers: [{type: RegularExpression, name: a, value: b}]}]",
        f"21: {RULE}.matches[0].headers[0].type: regular expressions are not matched here (use Exact)",
    ),
    _route_case(
        "query",
        "matches: [{queryParams: [{name: a, value: b}]}]",
        f"21: {RULE}.matches[0].queryParams: query parameters are not matched here (match by path or header)",
    ),
    _route_case(
        "redirect",
        "filters: [{type: RequestRedirect, requestRedirect: {port: 80}}]",
        f"21: {RULE}.filters[0].type: the filter RequestRedirect is not done here "
        "(RequestHeaderModifier and ResponseHeaderModifier are done; mirroring is the Guard's `mirror`)",
    ),
    _route_case(
        "added-header",
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: b}]}}]",
        f"21: {RULE}.filters[0].requestHeaderModifier.add: headers are set here, not added to (use `set`)",
    ),
    _route_case(
        "retry-codes",
        "retry: {codes: [429], attempts: 2}",
        f"21: {RULE}.retry.codes: these retry codes cannot be done here "
        "(write `codes: [502, 503, 504]`, leave codes out, or use MeshPolicy's retries)",
    ),
    _route_case(
        "hostnames",
        "matches: []",
        "20: spec.hostnames: a route of a Service takes no hostnames "
        "(take them out: callers use the Service's own name)",
        spec="hostnames: [a.example]\n",
    ),
    _route_case(
        "no-timeout",
        "timeouts: {request: 0s}",
        f"21: {RULE}.timeouts.request: no time-out at all is not done here "
        "(write how long you would really wait, such as `60s`)",
    ),
    case(
        "route-of-an-unknown-service",
        together(WEB, route("matches: []", parents="[{group: '', kind: Service, name: wbe}]")),
        "19: spec.parentRefs[0].name: an HTTPRoute for service wbe, which is not there (did you mean `web`?)",
    ),
]


@pytest.mark.parametrize(("manifests", "expected"), YAML_CASES)
def test_yaml_that_cannot_be_read_is_refused_with_its_line(manifests, expected):
    """Every mistake in the YAML itself is reported with its line and, where there is one, the fix."""
    assert [str(problem) for problem in problems_of(manifests)] == [f"app.yaml:{text}" for text in expected]


@pytest.mark.parametrize(("manifests", "expected"), FIELD_CASES)
def test_a_field_that_is_wrong_is_refused_in_the_words_of_the_file(manifests, expected):
    """Every wrong field of a Kubernetes manifest is reported with its path, its line and the fix."""
    assert [str(problem) for problem in problems_of(manifests)] == [f"app.yaml:{text}" for text in expected]


@pytest.mark.parametrize(("manifests", "expected"), GUARD_CASES)
def test_a_guard_or_policy_that_makes_no_sense_is_refused(manifests, expected):
    """Every contradiction within a Guard or MeshPolicy is reported where it stands."""
    assert [str(problem) for problem in problems_of(manifests)] == [f"app.yaml:{text}" for text in expected]


@pytest.mark.parametrize(("manifests", "expected"), WHOLE_CASES)
def test_what_only_shows_in_the_whole_is_refused(manifests, expected):
    """Every mistake between manifests is reported at the place that mends it, and alone."""
    assert [str(problem) for problem in problems_of(manifests)] == [f"app.yaml:{text}" for text in expected]


@pytest.mark.parametrize(("manifests", "expected"), ROUTE_CASES)
def test_what_a_route_asks_for_and_we_cannot_do_is_refused(manifests, expected):
    """Nothing that an HTTPRoute asks for is skipped in silence."""
    assert sorted(str(problem) for problem in problems_of(manifests)) == sorted(f"app.yaml:{text}" for text in expected)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (
            "images: {shop/web: ''}",
            "1: images.shop/web: the command is empty (write the program that stands for this image)",
        ),
        (
            "images: {shop/web: 'a \"b'}",
            (
                "1: images.shop/web: the command cannot be split into words: No closing quotation "
                "(close the quotes, or write a list)"
            ),
        ),
        ("images: {shop/web: 'a {prot}'}", "1: images.shop/web: unknown placeholder `{prot}` (did you mean `{port}`?)"),
        ("image: {}", "1: image: unknown field `image` (did you mean `images`?)"),
        (
            "images:\n  shop/web:\n    comand: a",
            "3: images.shop/web.comand: unknown field `comand` (did you mean `command`?)",
        ),
        ("[]", "1: this is no mapping (images.yaml begins with `images:`)"),
        ("images: {shop/web: a}\n---\nimages: {}", "3: a second document (keep one `images:` mapping in this file)"),
    ],
    ids=["empty", "quotes", "placeholder", "field", "field-of-an-image", "no-mapping", "two-documents"],
)
def test_a_wrong_images_file_is_refused(images, expected):
    """Mistakes in images.yaml are reported there, and an image that may stand in it is not reported as missing."""
    assert f"images.yaml:{expected}" in [str(problem) for problem in problems_of(WEB, images=images)]
    assert not [problem for problem in problems_of(WEB, images=images) if problem.file == "app.yaml"]


def test_every_problem_of_every_file_is_reported_at_once():
    """A person sees all mistakes in one go, ordered by file and line."""
    files = {
        "b.yaml": together(deployment(ports="[{containerPort: 0}]"), guard("mode: maybe")),
        "a/x.yml": "a: [\n",
        "images.yaml": IMAGES,
    }
    with pytest.raises(InvalidInput) as caught:
        load(files)
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [
        ("a/x.yml", 2),
        ("b.yaml", 13),
        ("b.yaml", 20),
    ]


def test_what_could_stand_in_an_unreadable_file_is_not_reported_as_missing():
    """One broken file causes one problem, not a flood of others."""
    files = {"config.yaml": "a: [", "app.yaml": together(deployment(container="envFrom: [{configMapRef: {name: c}}]"))}
    with pytest.raises(InvalidInput) as caught:
        load({**files, "images.yaml": IMAGES})
    assert [problem.file for problem in caught.value.problems] == ["config.yaml"]


def test_an_alias_bomb_is_refused():
    """Aliases that would be written out to millions of values stop the load with one problem, quickly."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    problems = problems_of(bomb)
    assert [problem.message for problem in problems] == ["more than 100,000 values in one document"]


def test_a_deep_nest_is_refused():
    """A hundred thousand brackets are a problem with the file, not a crash of the interpreter."""
    problems = problems_of("a: " + "[" * 100_000 + "]" * 100_000)
    assert [problem.message for problem in problems] == ["values are nested more than 100 deep"]
