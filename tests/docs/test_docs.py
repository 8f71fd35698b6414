"""What the docs claim is true: commands, manifests, links, error texts, the diagram, the named tests."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from doc_pages import PAGES, ROOT, Block, anchors, blocks, commands, links, name, prose

from sternway.cli.app import app
from sternway.demo.run import _parser as demo_parser
from sternway.domain.releases import Phase
from sternway.engine.transitions import diagram
from sternway.manifests.load import load
from sternway.manifests.models.guard import Guard
from sternway.ports import Entry
from sternway.web.api import Api

KINDS = ("Guard", "MeshPolicy", "Deployment", "Service", "ConfigMap", "HTTPRoute")
PLACEHOLDERS = {"RELEASE": "orders-1", "NAME": "orders", "CONTAINER=IMAGE": "orders=shop/orders:1"}
ENDS_AT_ONCE = ("--help", "--install-completion")
"""Options that do what they say as soon as they are read."""

each_page = pytest.mark.parametrize("page", PAGES, ids=name)


def manifest_blocks() -> list[Block]:
    """Every block of YAML in the docs that holds one of the kinds that are read, or says what images mean."""
    every = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]
    return [block for block in every if re.search(rf"^kind: ({'|'.join(KINDS)})$|^images:$", block.text, re.MULTILINE)]


@each_page
def test_every_link_leads_somewhere(page: Path):
    """Links within the repository name files that exist and headings that stand in them."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}"


@each_page
def test_every_command_line_is_understood(page: Path):
    """A `sternway …` that a page prints parses: the command exists, and so do its options and arguments."""
    group = typer.main.get_command(app)
    for where, line in commands(page):
        typed = shlex.split(line, comments=True)[1:]
        words = [PLACEHOLDERS.get(word, word) for word in typed if word not in ENDS_AT_ONCE]
        if words and words[0] == "demo":
            demo_parser().parse_args(words[1:])
        elif words and not any(sign in line for sign in "…["):
            context = group.make_context("sternway", list(words), resilient_parsing=False)
            _parse_below(context, where)


def _parse_below(context: typer.Context, where: str) -> None:
    """Parse the commands below a group, without running them."""
    words = [*context._protected_args, *context.args]
    if not words:
        return
    found, command, rest = context.command.resolve_command(context, words)  # type: ignore[attr-defined]
    assert command is not None, where
    if not rest:
        return  # a command that is spoken of, not one to type
    below = command.make_context(found, list(rest), parent=context)
    if hasattr(command, "resolve_command"):
        _parse_below(below, where)


@pytest.mark.parametrize("block", manifest_blocks(), ids=lambda block: block.where)
def test_every_manifest_in_the_docs_is_accepted(block: Block):
    """A Guard that somebody copies from the docs is valid, given the service that it speaks of."""
    documents = [document for document in yaml.safe_load_all(block.text) if document]
    if "images" in documents[0]:
        (image,) = documents[0]["images"]
        load({"images.yaml": block.text, f"{image}.yaml": _deployment(image)})
        return
    for document in documents:  # a Job needs a cluster: the model says whether its gate can be read
        if any("job" in gate for gate in document.get("spec", {}).get("gates", ())):
            Guard.model_validate(document)
            document["spec"].pop("gates")
    deployments = {name for document in documents for name in _deployments(document)}
    beside = {} if "Deployment" in block.text else {f"{name}.yaml": _deployment(name) for name in deployments}
    images = {"images": dict.fromkeys(deployments, "serve {port}")}
    text = yaml.safe_dump_all(documents) if "job:" in block.text else block.text
    load({"docs.yaml": text, **beside, "images.yaml": yaml.safe_dump(images)})


def _deployments(document: dict) -> Iterator[str]:
    """The Deployments that a manifest is, or speaks of."""
    spec = document.get("spec", {})
    if document["kind"] == "Deployment":
        yield document["metadata"]["name"]
    if "service" in spec:
        yield spec["service"]
    if "fallback" in spec:
        yield spec["fallback"]["deployment"]


def _deployment(service: str) -> str:
    """A Deployment to go with a Guard."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service},
        "spec": {
            "selector": {"matchLabels": {"app": service}},
            "template": {
                "metadata": {"labels": {"app": service}},
                "spec": {
                    "containers": [{"name": service, "image": f"{service}:1", "ports": [{"containerPort": 8080}]}]
                },
            },
        },
    }
    return yaml.safe_dump(deployment)


@each_page
def test_every_json_in_the_docs_is_json(page: Path):
    """Example answers can be parsed."""
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)


def test_the_diagram_in_the_docs_is_that_of_the_table():
    """The state machine is drawn from the code, and every state is explained below it."""
    page = ROOT / "docs" / "concepts" / "states.md"
    (drawn,) = (block.text for block in blocks(page) if block.language == "mermaid")
    assert drawn == diagram() + "\n"
    for phase in Phase:
        assert f"| {phase.value.replace('-', ' ')} |" in page.read_text()


@cache
def _tests_of(path: Path) -> set[str]:
    """Functions of a module, and methods as Class.method."""
    module = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in module.body if isinstance(node, functions)}
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, functions)}
    return found


def test_every_test_that_the_docs_name_exists():
    """An invariant is held by the tests that its page names, and each of the ten names some."""
    text = (ROOT / "docs" / "concepts" / "invariants.md").read_text()
    for section in re.split(r"^## \d+\. ", text, flags=re.MULTILINE)[1:]:
        named = re.findall(r"`(tests/[\w/]+\.py)::([\w.]+)`", section)
        assert named, section.splitlines()[0]
        for path, test in named:
            assert (ROOT / path).exists(), path
            assert test in _tests_of(ROOT / path), f"{path}::{test}"
    assert len(re.findall(r"^## \d+\. ", text, re.MULTILINE)) == 10


def test_the_page_of_the_api_names_every_endpoint_and_no_other():
    """The table of the reference is the table of routes."""
    page = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    told = {
        (method, re.sub(r"NAME|SERVICE", "*", path))
        for method, path in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE)
    }
    routes = Api(None, stop=lambda _: None)._routes()  # type: ignore[arg-type]  # nothing is asked of the services
    assert told == {(route.method, re.sub(r"\{\w+\}", "*", route.path)) for route in routes}


def test_the_page_of_the_journal_names_every_field():
    """A line of the journal holds what the page says."""
    page = (ROOT / "docs" / "reference" / "journal.md").read_text()
    told = set(re.findall(r"`(\w+)`", page.partition("## What a line holds")[2].partition("A pass that changes")[0]))
    assert set(Entry.__dataclass_fields__) <= told


@cache
def _source() -> str:
    """The texts of the code, with strings that go over several lines joined."""
    files = [*(ROOT / "src").rglob("*.py"), ROOT / "scripts" / "setup.sh"]
    whole = "\n".join(path.read_text() for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", whole)


def test_error_texts_in_troubleshooting_are_those_of_the_code():
    """What a reader searches for is what the program prints: each quoted piece stands in the code."""
    page = ROOT / "docs" / "troubleshooting.md"
    symptoms = re.findall(r"^\| (?!What you see)(.+?) \|", prose(page), re.MULTILINE)
    pieces = [
        piece.strip(" :;,.")
        for symptom in symptoms
        for quoted in re.findall(r"`([^`]+)`", symptom)
        for piece in re.split(r"…|\d+|RELEASE|RELEASE-", quoted)
    ]
    told = [piece for piece in pieces if len(piece) > 8]
    assert len(told) > 30
    missing = [piece for piece in told if piece not in _source()]
    assert not missing


def test_the_environment_page_names_every_variable():
    """What a replica inherits, and what Sternway reads, is what the page says."""
    from sternway.platforms.local.launch import KEPT  # noqa: PLC0415  an adapter, needed here alone

    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    read = set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', _source())) | set(KEPT)
    assert not [variable for variable in read if f"`{variable}`" not in page]


def test_the_picture_is_of_a_run_that_ended_well_and_loads_nothing():
    """The SVG shows the demo's end, and asks no other machine for anything."""
    picture = (ROOT / "docs" / "assets" / "demo.svg").read_text()
    assert "everything&#160;ended&#160;as&#160;it&#160;should" in picture
    assert not re.findall(r"url\((?!['\"]?#)[^)]*\)|(?:href|src)=[\"']https?:", picture)


def test_fragments_of_the_changelog_are_named_as_agreed():
    """NAME.KIND.md, with something in it."""
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert fragments
    for path in fragments:
        assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed)\.md", path.name), path.name
        assert path.read_text().strip()


def test_the_docs_hold_no_path_of_a_machine():
    """Pages speak of the project alone."""
    for page in PAGES:
        assert not re.search(r"/(home|root|work|Users)/\w", page.read_text()), name(page)
