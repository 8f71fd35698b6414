"""The words of `sternway check`, the reference page and the schemas."""

from pathlib import Path

import pytest
from manifest_texts import deployment, guard, load_texts

from sternway.manifests.explain import explain
from sternway.manifests.models.guard import Guard
from sternway.manifests.reference import reference
from sternway.manifests.schema import schemas

DOCS = Path(__file__).parents[2] / "docs"


def test_the_default_guard_is_explained_in_plain_sentences():
    """A person who wrote no Guard is told what will happen all the same."""
    assert explain(load_texts(deployment(replicas=2))) == (
        "web (port 8080): 2 replicas of shop/web:1.0.0, with the default guard",
        "  a release begins when one of these changes: Deployment web (app.yaml)",
        "  the new version starts beside the old; not ready within 2m: rollback",
        (
            "  step 1 of 3: at most 5 requests/s, until it has answered 40 requests and is surely working (or 30m have "
            "passed)"
        ),
        (
            "  step 2 of 3: 10 % or more, but so that a bad version fails about 15 requests at most, until it has answered "
            "200 requests and 30s have passed and is surely healthy (or 30m have passed)"
        ),
        "  step 3 of 3: 50 %, until it has answered 200 requests",
        "  then it gets all traffic",
        "  for 5m after that, harm still takes it back; the old version keeps 5 % to compare with",
        "  the old version is stopped 1m later",
        (
            "  harm is more errors than the old version by 10 % and 0.01 points; a healthy release is taken back in at most "
            "1 % of all cases"
        ),
        "  harm is also being slower at p50, p90, p99 by more than 10 %",
        "  harm is also more client errors, counted alone, by 100 % and 5 points",
        "  in its first 1m it may be worse: that withdraws it, but does not condemn it",
        (
            "  GET, HEAD and OPTIONS requests that fail on it are answered by the old version (up to 20 % of the requests "
            "under way)"
        ),
        "  on suspicion it gets no traffic for 30s and is then tried again",
        "  once harm is sure, all traffic goes back, the commit is reverted and the version is held",
        "  when nothing can be seen, nothing moves for 10m; then everything stays as it is until somebody decides",
    )


@pytest.mark.parametrize(
    ("spec", "sentences"),
    [
        (
            "mode: ask\nask: {timeout: 10m, then: hold}",
            [("  once harm is sure, traffic stays off it and a person is asked for 10m; then everything stays as it is until "
             "somebody decides")],
        ),
        (
            "strategy: {blueGreen: {hold: 1m, switch: manual}}\nbake: {for: 0s}",
            ["  it stands at a preview address for at least 1m, then it waits there for `sternway promote`"],
        ),
        (
            "strategy: {ab: {cookie: {name: beta, value: on1}, minRequests: 7}}",
            ["  requests with the cookie beta: on1 go to it until it has answered 7"],
        ),
        (
            "mirror: {percent: 25%, minRequests: 50}",
            ["  first 25 % of the requests are copied to it, until it has answered 50; no user sees its answers"],
        ),
        (
            "judge: {clusterKey: {header: x-user}, objectives: {availability: 99.5, latency: {p99: 300ms}}}",
            [
                "  harm is also answering less than 99.5 % well",
                "  harm is also a p99 above 300ms",
                "  errors of one header x-user within 1m count once",
            ],
        ),
        ("shield: {enabled: false}", ["  the shield is down: what fails on the new version fails for its caller"]),
        (
            "fallback: {deployment: web-old}",
            ["  web-old (shop/web:0.9) always stands by with 1 replica as rollback target"],
        ),
    ],
    ids=["ask", "blue-green", "ab", "mirror", "judge", "shield", "fallback"],
)  # fmt: skip
def test_what_a_guard_says_is_explained(spec, sentences):
    """Every part of a Guard has its sentence, and it is not said of the default."""
    old = deployment("web-old", image="shop/web:0.9")
    said = explain(load_texts(deployment(), old, guard(spec)))
    assert set(sentences) <= set(said)
    assert not set(sentences) & set(explain(load_texts(deployment())))


def test_a_service_without_address_is_explained_by_its_health_alone():
    """No steps are promised where there is no traffic."""
    lines = explain(load_texts(deployment(ports="")))
    assert "  it gets no requests through the mesh, so only its replicas' health can be judged" in lines
    assert not [line for line in lines if "step" in line]


def test_the_reference_page_is_that_of_the_models():
    """docs/reference/manifests.md names every field with the default that is in force."""
    assert (DOCS / "reference" / "manifests.md").read_text() == reference()


def test_every_field_of_ours_is_described():
    """A field without a description would be a hole in the docs and in the schema."""

    def undescribed(schema):
        models = {"": schema} | schema["$defs"]
        for title, model in models.items():
            for name, field in model.get("properties", {}).items() if "Metadata" not in title else ():
                # pydantic leaves a field's words out when they are those of the model that it refers to
                target = models[field.get("$ref", "").removeprefix("#/$defs/")]
                if "description" not in field and (target is schema or "description" not in target):
                    yield f"{title}.{name}"

    found = {kind: list(undescribed(schema)) for kind, schema in schemas().items()}
    assert found == {"Guard": [], "MeshPolicy": [], "Policy": [], "images.yaml": []}


def test_the_schema_refuses_what_the_models_refuse():
    """The schemas carry the shape that the models have: required fields, no others, defaults as a person writes them."""
    spec = schemas()["Guard"]["$defs"]["GuardSpec"]
    assert spec["required"] == ["service"]
    assert spec["additionalProperties"] is False
    assert set(spec["properties"]) == {
        field.alias for field in Guard.model_fields["spec"].annotation.model_fields.values()
    }
    assert spec["properties"]["progressDeadline"]["default"] == "2m"
