"""Metrics and alerts of a Guard, and monitoring.yaml: what they mean, and every way to write them wrongly."""

import pytest
from manifest_texts import IMAGES, deployment, guard, together

from sternway.domain.metrics import AlertRule, Limits, Metric, OnAlert, Ratio, Slower, Versus, Worse
from sternway.domain.monitoring import AlertsOut, Endpoint, Monitoring, Notification, Webhook
from sternway.domain.notices import What
from sternway.errors import InvalidInput
from sternway.manifests import promql
from sternway.manifests.builtin_metrics import NAMES
from sternway.manifests.load import load


def guarded(spec, **files):
    """Load a service with a Guard, and other files beside it."""
    texts = {f"{name}.yaml": text for name, text in files.items()}
    return load({"app.yaml": together(deployment(), guard(spec)), "images.yaml": IMAGES, **texts}, origin="/shop")


def metric_of(text):
    """Load the one metric of a Guard; `text` is what stands after its name."""
    return guarded(f"metrics:\n- name: one\n{text}").find("web").guard.judge.metrics[0]


MEANT = [
    pytest.param(
        "  ratio: {bad: 'bad_total{v=\"$(tag)\"}', total: 'all_total{v=\"$(tag)\"}', worseThan: 50%, and: 1}",
        Metric(
            name="one",
            ratio=Ratio(
                bad='bad_total{v="$(tag)"}', total='all_total{v="$(tag)"}', worse_than_percent=50, and_percent=1
            ),
        ),
        id="ratio",
    ),
    pytest.param(
        "  interval: 15s\n  latency: {buckets: 'x_bucket{v=\"$(version)\"}', quantile: p95}",
        Metric(name="one", interval_s=15, slower=Slower(histogram='x_bucket{v="$(version)"}', quantile=0.95)),
        id="latency",
    ),
    pytest.param(
        '  window: 2m\n  query: avg(rate(x{v="$(version)"}[$(window)]))\n  compare: {worse: lower, worseThan: 5, and: 0.5}',
        Metric(
            name="one",
            window_s=120,
            spans_s=120,
            versus=Versus(
                query='avg(rate(x{v="$(version)"}[$(window)]))',
                worse=Worse.LOWER,
                worse_than_percent=5,
                and_value=0.5,
            ),
        ),
        id="compare",
    ),
    pytest.param(
        "  query: max_over_time(sum(rate(x[30s]))[5m:10s])\n"
        "  threshold: {min: 99, failMin: 90, failureLimit: 3, consecutiveErrorLimit: 2, inconclusiveLimit: 5, count: 10,"
        " initialDelay: 1m}",
        Metric(
            name="one",
            spans_s=330,
            limits=Limits(
                query="max_over_time(sum(rate(x[30s]))[5m:10s])",
                min=99,
                fail_min=90,
                failure_limit=3,
                consecutive_error_limit=2,
                inconclusive_limit=5,
                count=10,
                initial_delay_s=60,
                comparative=False,
            ),
        ),
        id="threshold",
    ),
]


@pytest.mark.parametrize(("text", "meant"), MEANT)
def test_a_metric_means_what_it_says(text, meant):
    """Nothing is lost or changed between the manifest and the domain."""
    assert metric_of(text) == meant


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_in_is_a_right_selector_that_tells_versions_apart(name):
    """Every built-in metric passes the checks that a person's own must pass."""
    metric = metric_of(f"  builtIn: {name}")
    selectors = [metric.ratio.bad, metric.ratio.total] if metric.ratio else [metric.slower.histogram]
    for selector in selectors:
        promql.check_selector(selector)
        assert promql.tells_apart(selector)


RATIO = "  ratio: {bad: BAD, total: 'all{v=\"$(tag)\"}'}"
WRONG = [
    pytest.param("", "a metric is exactly one of ratio, latency, compare, threshold, builtIn; here: none", id="none"),
    pytest.param(
        "  builtIn: istio-errors\n  query: up\n  threshold: {min: 1}",
        "here: threshold, builtIn (keep one of them)",
        id="two",
    ),
    pytest.param(
        RATIO.replace("BAD", "'sum(rate(x[5m]))'"),
        'this is no plain selector (write the counter alone, as `requests_total{code=~"5.."}`)',
        id="no-selector",
    ),
    pytest.param(
        RATIO.replace("BAD", "'x{v=\"$(tag)\"} offset 5m'"),
        "a selector here takes neither `offset` nor `@` (take it out)",
        id="offset",
    ),
    pytest.param(
        RATIO.replace("BAD", "x"),
        'ratio.bad: this does not tell versions apart (add a label, for example `version="$(tag)"`)',
        id="same-for-both",
    ),
    pytest.param(
        "  query: sum(\n  threshold: {min: 1}",
        "query: this is no PromQL: unclosed left parenthesis (try it in Prometheus)",
        id="no-promql",
    ),
    pytest.param(
        "  query: rate(x)\n  threshold: {min: 1}",
        "expected type matrix in call to function 'rate', got vector",
        id="wrong-type",
    ),
    pytest.param(
        "  query: x[5m]\n  threshold: {min: 1}",
        "this selects a range, which has no value (put it into a function, for example `rate(…)`)",
        id="range",
    ),
    pytest.param(
        "  query: 'x{v=\"$(vers)\"}'\n  threshold: {min: 1}",
        "unknown argument `$(vers)` (did you mean `$(version)`?)",
        id="argument",
    ),
    pytest.param(
        "  query: 'x{v=\"{{ version }}\"}'\n  threshold: {min: 1}",
        "`{{…}}` is no argument here (write for example `$(version)`)",
        id="flagger",
    ),
    pytest.param(
        "  threshold: {min: 1}", "`threshold` needs `query` (write the PromQL whose value is looked at)", id="no-query"
    ),
    pytest.param(
        "  query: up\n  threshold: {failureLimit: 1}",
        "a threshold needs min or max (write one of them, or both)",
        id="no-limit",
    ),
    pytest.param(
        "  query: up\n  threshold: {min: 5, failMin: 6}",
        "failMin: failMin lies inside of what is good (write it further out)",
        id="fail-inside",
    ),
    pytest.param(
        "  query: up\n  threshold: {min: 5, failMax: 6}",
        "`max` is missing (write where good ends as `max`)",
        id="fail-without",
    ),
    pytest.param(
        "  query: up\n  compare: {worse: higher}", "query: this does not tell versions apart", id="compare-same"
    ),
    pytest.param(
        "  builtIn: istio-error", "no metric istio-error is built in (did you mean `istio-errors`?)", id="built-in"
    ),
    pytest.param(
        "  builtIn: istio-errors\n- name: one\n  builtIn: istio-latency",
        "a second metric one (give each a name of its own)",
        id="twice",
    ),
    pytest.param(
        "  interval: 10ms\n  builtIn: istio-errors",
        "an interval of 0.01 s is too short (write at least 200ms)",
        id="interval",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_metric_that_makes_no_sense_is_refused_with_the_fix(text, said):
    """It is found when the manifest is read, not in the middle of a release."""
    with pytest.raises(InvalidInput) as found:
        metric_of(text)
    assert said in str(found.value)


def test_sternways_own_names_are_taken():
    """A metric called `errors` would be another criterion in sentences and in the journal."""
    for name in ("errors", "errors-client", "latency-p99", "alerts"):
        with pytest.raises(InvalidInput, match="Sternway's own"):
            guarded(f"metrics: [{{name: {name}, builtIn: istio-errors}}]")


def test_alert_rules_are_read_in_order():
    """The first that fits is followed, so their order stays."""
    rules = guarded(
        "alerts:\n- match: {alertname: 'Orders*', severity: page}\n  onAlert: rollback\n- match: {team: shop}"
    )
    assert rules.find("web").guard.judge.alerts == (
        AlertRule(match=(("alertname", "Orders*"), ("severity", "page")), then=OnAlert.ROLLBACK),
        AlertRule(match=(("team", "shop"),), then=OnAlert.WITHDRAW),
    )
    with pytest.raises(InvalidInput, match="must not be empty"):
        guarded("alerts: [{match: {}}]")
    with pytest.raises(InvalidInput, match="alerts about Sternway itself judge no release"):
        guarded("alerts: [{match: {alertname: Sternway*}}]")


def test_monitoring_yaml_says_where_the_systems_are():
    """An address is enough; files are looked for beside it."""
    text = """\
prometheus:
  url: https://prometheus.example:9090
  timeout: 3s
  basic: {username: ada, passwordFile: secrets/password}
  tls: {caFile: ca.pem, certFile: /etc/me.pem, keyFile: /etc/me.key}
  tenant: shop
  headers: {x-from: sternway}
alertmanager: http://127.0.0.1:9093
webhook: {listen: "127.0.0.1:9095", tokenFile: token}
metrics: {listen: "127.0.0.1:9464"}
"""
    assert guarded("", monitoring=text).monitoring == Monitoring(
        prometheus=Endpoint(
            url="https://prometheus.example:9090",
            timeout_s=3.0,
            username="ada",
            password_file="/shop/secrets/password",
            ca_file="/shop/ca.pem",
            cert_file="/etc/me.pem",
            key_file="/etc/me.key",
            tenant="shop",
            headers=(("x-from", "sternway"),),
        ),
        alertmanager=Endpoint(url="http://127.0.0.1:9093"),
        webhook=Webhook(listen="127.0.0.1:9095", token_file="/shop/token"),
        metrics="127.0.0.1:9464",
    )


def test_monitoring_yaml_says_who_is_told():
    """Alerts go where Alertmanager is asked unless other places are named; addresses stand in files beside it."""
    text = """\
alertmanager: http://127.0.0.1:9093
alerts:
  to: [http://am-1.example:9093, {url: https://am-2.example:9093, bearerTokenFile: secrets/token}]
  linkUrl: https://sternway.example/$(service)/$(release)
  labels: {cluster: eu-1}
  rolledBackFor: 30m
notifications:
  - {urlFile: secrets/slack.url, when: [rolled-back, promoted], services: ["orders*"]}
  - {urlFile: /etc/sternway/mail.url}
"""
    found = guarded("", monitoring=text).monitoring
    assert found.alerts == AlertsOut(
        to=(
            Endpoint(url="http://am-1.example:9093"),
            Endpoint(url="https://am-2.example:9093", token_file="/shop/secrets/token"),
        ),
        link_url="https://sternway.example/$(service)/$(release)",
        labels=(("cluster", "eu-1"),),
        rolled_back_s=1800.0,
    )
    slack, mail = found.notifications
    assert slack == Notification(
        url_file="/shop/secrets/slack.url", when=(What.ROLLED_BACK, What.PROMOTED), services=("orders*",)
    )
    assert (mail.url_file, mail.services) == ("/etc/sternway/mail.url", ("*",))
    assert set(mail.when) == set(What) - {What.WITHDRAWN, What.PROMOTED}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prometheus: 127.0.0.1:9090", "is no address of an HTTP server"),
        ("prometheus: http://ada:secret@example:9090", "the address holds credentials"),
        (
            "prometheus: {url: 'http://a', basic: {username: a, passwordFile: b}, bearerTokenFile: c}",
            "two ways to log in",
        ),
        ("webhook: {listen: '9095', tokenFile: t}", "is no address to listen on"),
        ("metrics: {listen: '9464'}", "is no address to listen on"),
        ("metrics: {}", "metrics: `listen` is missing"),
        ("alerts: {labels: {service: a}}", "`service` is a label that each alert has of its own"),
        ("alerts: {labels: {a-b: c}}", "'a-b' is no name of a label"),
        ("alerts: {linkUrl: dashboard}", "'dashboard' is no address of an HTTP server"),
        ("alerts: {linkUrl: 'http://ada:secret@a'}", "the address holds credentials"),
        ("notifications: [{urlFile: 'slack://s3cr3t/b/c'}]", "its secrets would stand in Git"),
        ("notifications: [{urlFile: a, when: []}]", "must not be empty"),
        ("notifications: [{urlFile: a, when: [rolledback]}]", "rolled-back"),
        ("notifications: [{url: 'slack://a/b/c'}]", "unknown field `url` (did you mean `urlFile`?)"),
        ("notifications: [{urlFile: a/x.url}, {urlFile: b/x.url}]", "another file is called x.url too"),
        ("prometeus: http://a", "unknown field `prometeus` (did you mean `prometheus`?)"),
    ],
)
def test_monitoring_yaml_that_makes_no_sense_is_refused(text, said):
    """Its mistakes are told as those of any manifest are."""
    with pytest.raises(InvalidInput) as found:
        guarded("", monitoring=text)
    assert said in str(found.value)
    assert "s3cr3t" not in str(found.value)
