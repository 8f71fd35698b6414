"""One value of a manifest is edited and nothing else: not a comment, not a line end, not a space."""

from __future__ import annotations

import json
import string

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sternway.errors import InvalidInput
from sternway.manifests.edit import documents, set_image, set_value

ODD = """\
# The shop. \u00dcmlauts and \U0001f600 before the value shift nothing.
%YAML 1.1
---
# orders
apiVersion: apps/v1
kind: Deployment
metadata: {name:   orders, "labels": {'a': "b"}}
spec:
    replicas: 2   # enough
    template:
      spec:
         initContainers: [{name: setup, image: busybox}]
         containers:
         - image:   "orders:1.0.0"    # keep me
           name: orders
         -   {name: proxy, image: 'proxy:1'}

---
kind: CronJob
metadata:
  name: nightly
spec:
  jobTemplate: {spec: {template: {spec: {containers: [{name: job, image: job:1}]}}}}
...
---
kind: Pod
metadata: {name: single}
spec: {containers: [{name: single, image: single}]}
"""


@pytest.mark.parametrize(
    ("kind", "name", "container", "old", "new"),
    [
        ("Deployment", "orders", "orders", '"orders:1.0.0"    # keep me', '"x:2"    # keep me'),
        ("Deployment", "orders", "proxy", "image: 'proxy:1'}", "image: 'x:2'}"),
        ("Deployment", "orders", "setup", "image: busybox}", "image: x:2}"),
        ("CronJob", "nightly", "job", "image: job:1}", "image: x:2}"),
        ("Pod", "single", "single", "image: single}", "image: x:2}"),
    ],
)
def test_an_image_is_set_in_place(kind: str, name: str, container: str, old: str, new: str) -> None:
    """Quotes, flow style, comments and odd indentation stay; every kind of workload is known."""
    assert ODD.count(old) == 1
    assert set_image(ODD, kind=kind, name=name, container=container, image="x:2") == ODD.replace(old, new)


@pytest.mark.parametrize(
    "dress",
    [
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(lambda text: "\ufeff" + text, id="byte order mark"),
        pytest.param(lambda text: text.rstrip("\n"), id="no last line end"),
        pytest.param(lambda text: "\ufeff" + text.replace("\n", "\r\n").rstrip("\r\n"), id="all of them"),
    ],
)
def test_line_ends_and_a_byte_order_mark_stay(dress) -> None:
    """The edit of the dressed text is the dressed edit."""
    edit = {"kind": "Pod", "name": "single", "container": "single", "image": "single:3"}
    assert set_image(dress(ODD), **edit) == dress(set_image(ODD, **edit))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("1.10", '"1.10"'),
        ("0x1f", '"0x1f"'),
        ("12:30", '"12:30"'),
        ("n", '"n"'),
        ("~", '"~"'),
        ("", '""'),
        ("a # b", '"a # b"'),
        ("a: b", '"a: b"'),
        ("two\nlines", '"two\\nlines"'),
        ("&x", '"&x"'),
        ("a?", '"a?"'),
        ("a, b", '"a, b"'),
        ("x:1.10", "x:1.10"),
        ("\u00fcber", "\u00fcber"),
        (5, "5"),
        (True, "true"),
        (1.5, "1.5"),
    ],
)
def test_a_plain_value_is_quoted_only_when_it_would_not_be_read_as_written(value, written: str) -> None:
    """What some YAML reader takes for a number, a truth value or nothing is put in quotes."""
    text = "kind: A\nmetadata: {name: a}\nspec:\n  value: old # why\n"
    edited = set_value(text, document=("A", "a"), path=("spec", "value"), value=value)
    assert edited == text.replace("old", written)
    assert yaml.safe_load(edited)["spec"]["value"] == value


def test_an_empty_value_is_filled() -> None:
    """`key:` without a value takes one."""
    text = "kind: A\nmetadata: {name: a}\nspec:\n  value:\n  other: 1\n"
    edited = set_value(text, document=("A", "a"), path=("spec", "value"), value="x")
    assert yaml.safe_load(edited)["spec"] == {"value": "x", "other": 1}


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        pytest.param("v: &x 1\n  w: *x", "v", "anchor or alias", id="anchor"),
        pytest.param("v: &x 1\n  w: *x", "w", "anchor or alias", id="alias"),
        pytest.param("v: &x 1", "v", "anchor or alias", id="unused anchor"),
        pytest.param("t: &t {v: 1}\n  w: *t", "w.v", "anchor or alias", id="inside an alias"),
        pytest.param("t: &t {v: 1}\n  w: {<<: *t}", "w.v", r"merge \(<<\)", id="merge key"),
        pytest.param("v: |\n    1\n    2", "v", "several lines", id="block"),
        pytest.param("v: 'a\n    b'", "v", "several lines", id="folded quotes"),
        pytest.param("v: !secret x", "v", "has a YAML tag", id="tag"),
        pytest.param("v: '{{ .Values.v }}'", "v", "is a template", id="template value"),
        pytest.param("v: {{ .Values.v }}", "v", "is a template", id="bare template value"),
        pytest.param("v: 1\n{{- if .v }}", "v", "this is a template, not a manifest", id="template file"),
        pytest.param("v: [1", "v", "cannot be read", id="broken"),
        pytest.param("v: 1\n  v: 2", "v", "more than once", id="duplicate key"),
        pytest.param("v: {a: 1}", "v", "no single value", id="mapping"),
        pytest.param("v: 1", "w", "does not exist", id="missing"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused(spec: str, path: str, message: str) -> None:
    """Each refusal names the line and says why."""
    text = f"kind: A\nmetadata: {{name: a}}\nspec:\n  {spec}\n"
    with pytest.raises(InvalidInput, match=rf"shop\.yaml:[3456]: .*{message}|shop\.yaml:[3456]: {message}"):
        set_value(text, document=("A", "a"), path=("spec", *path.split(".")), value="x", file="shop.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "Deployment", "name": "order"}, r"no Deployment order \(did you mean Deployment orders\?\)"),
        (
            {"kind": "Deployment", "name": "orders", "container": "ordres"},
            r"no container ordres \(did you mean orders\?\)",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(arguments: dict[str, str], message: str) -> None:
    """A slip of the finger costs no look into the file."""
    with pytest.raises(InvalidInput, match=message):
        set_image(ODD, **{"container": "orders", "image": "x", **arguments})


def test_two_documents_of_one_name_are_refused() -> None:
    """Which of them is meant cannot be known."""
    with pytest.raises(InvalidInput, match=r"more than once \(lines 1 and 4\)"):
        set_value("kind: A\nmetadata: {name: a}\n---\n" * 2, document=("A", "a"), path=("kind",), value="B")


def test_documents_are_found_with_their_comments_and_without_their_markers() -> None:
    """A comment below `---` belongs to its document; a licence and directives before the first belong to none."""
    found = [(kind, name, ODD[start:end]) for kind, name, start, end in documents(ODD)]
    assert [(kind, name) for kind, name, _ in found] == [
        ("Deployment", "orders"),
        ("CronJob", "nightly"),
        ("Pod", "single"),
    ]
    assert found[0][2].startswith("# orders\napiVersion")
    assert found[0][2].endswith("'proxy:1'}\n\n")
    assert found[1][2].endswith("job:1}]}}}}\n")


def test_a_marker_inside_a_block_of_text_is_no_marker_unless_it_starts_the_line() -> None:
    """A ConfigMap may hold YAML with `---` of its own, indented."""
    text = "kind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: |\n    x: 1\n    ---\n    y: 2\n--- # next\nkind: B\n"
    assert [(d.kind, d.name) for d in documents(text)] == [("ConfigMap", "c"), ("B", "")]


def test_a_broken_document_does_not_hide_the_others() -> None:
    """It is listed without kind and name."""
    assert [d.kind for d in documents("kind: A\n---\n{{ x\n---\nkind: B")] == ["A", "", "B"]


NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8)
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp"), exclude_characters="\ufeff")
TEXTS = st.text(LETTERS, max_size=12).filter(lambda text: "{{" not in text)


@st.composite
def manifests(draw: st.DrawFn) -> tuple[list[dict], str, int, str]:
    """Draw workloads, their text in some layout, which of them is meant and which of its containers."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    found = []
    for name in names:
        containers = [
            {"name": container, "image": draw(TEXTS), "env": draw(st.dictionaries(TEXTS, TEXTS, max_size=2))}
            for container in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        ]
        pod = {"template": {"spec": {"containers": containers}}, "note": draw(TEXTS)}
        found.append({"kind": "Deployment", "metadata": {"name": name}, "spec": pod})
    layouts = st.sampled_from(
        [{"default_flow_style": True}, {"indent": 4}, {"default_style": '"'}, {"default_style": "'"}]
    )
    parts = []
    for manifest in found:
        layout = draw(layouts)
        written = json.dumps(manifest, ensure_ascii=False) + "\n" if draw(st.booleans()) else None
        parts.append(written or yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False, width=10**6, **layout))
    text = "---\n".join(f"# {draw(NAMES)}\n{part}" for part in parts)
    text = text.replace("\n", "\r\n") if draw(st.booleans()) else text
    text = ("\ufeff" if draw(st.booleans()) else "") + text
    index = draw(st.integers(0, len(found) - 1))
    chosen = draw(st.integers(0, len(found[index]["spec"]["template"]["spec"]["containers"]) - 1))
    return found, text, index, found[index]["spec"]["template"]["spec"]["containers"][chosen]["name"]


@settings(max_examples=60, deadline=None)
@given(manifests(), TEXTS)
def test_setting_an_image_changes_exactly_one_path(drawn: tuple[list[dict], str, int, str], image: str) -> None:
    """Whatever the manifest, its layout and the image: all else reads as before, and one line differs at most."""
    found, text, index, container = drawn
    before = list(yaml.safe_load_all(text))
    name = found[index]["metadata"]["name"]
    edited = set_image(text, kind="Deployment", name=name, container=container, image=image)
    for item in before[index]["spec"]["template"]["spec"]["containers"]:
        if item["name"] == container:
            item["image"] = image
    assert list(yaml.safe_load_all(edited)) == before
    old, new = text.split("\n"), edited.split("\n")
    assert len(old) == len(new)
    assert sum(a != b for a, b in zip(old, new, strict=True)) <= 1
