"""Restoring single documents of a text: pure, for any mixture of documents."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sternway.history.restore import restored
from sternway.manifests.edit import documents

NAMES = tuple("abcdef")
Files = tuple[dict[str, int], str, bool]


@st.composite
def files(draw: st.DrawFn) -> Files:
    """Draw a file: its documents in some order with their content, its line end, and whether `---` comes first."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    return {name: draw(st.integers(0, 3)) for name in names}, draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans())


def written(file: Files) -> str:
    """Write a file."""
    content, end, marked = file
    parts = [
        f"# about {name}{end}kind: K{end}metadata: {{name: {name}}}{end}v: {v}{end}" for name, v in content.items()
    ]
    return (f"---{end}" if marked else "") + f"---{end}".join(parts)


def read(text: str | None) -> dict[str, str]:
    """Read a file: its documents by name."""
    return {name: text[start:end] for _, name, start, end in documents(text)} if text else {}


@settings(max_examples=200, deadline=None)
@given(files(), files(), st.sets(st.sampled_from(NAMES)))
def test_the_named_documents_are_as_they_were_and_all_others_byte_for_byte_as_they_are(
    bad: Files, good: Files, names: set[str]
) -> None:
    """Whatever was changed, added or removed."""
    after = read(restored(written(bad), written(good), {("K", name) for name in names}))
    before, wanted = read(written(bad)), read(written(good))
    assert {n: t for n, t in after.items() if n in names} == {n: t for n, t in wanted.items() if n in names}
    assert [(n, t) for n, t in after.items() if n not in names] == [(n, t) for n, t in before.items() if n not in names]


@settings(max_examples=100, deadline=None)
@given(files(), st.sampled_from(NAMES), st.integers(4, 9))
def test_undoing_a_change_of_one_document_gives_the_file_back(good: Files, name: str, value: int) -> None:
    """A changed or an added document, at any place."""
    content, end, marked = good
    bad = ({**content, name: value}, end, marked)
    assert restored(written(bad), written(good), {("K", name)}) == written(good)


@settings(max_examples=100, deadline=None)
@given(files(), st.data())
def test_undoing_the_removal_of_a_document_puts_it_back_in_its_place(good: Files, data: st.DataObject) -> None:
    """First, last or in the middle; a file that is gone as a whole comes back."""
    content, end, _ = good
    good = (content, end, False)
    name = data.draw(st.sampled_from(sorted(content)))
    rest = ({n: v for n, v in content.items() if n != name}, end, False)
    bad = written(rest) if rest[0] else None
    assert restored(bad, written(good), {("K", name)}) == written(good)


def test_a_file_that_the_release_added_is_removed_unless_it_holds_more() -> None:
    """Another service's document in the same new file stays."""
    assert restored("kind: K\nmetadata: {name: a}\n", None, {("K", "a")}) is None
    both = "kind: K\nmetadata: {name: a}\n---\nkind: K\nmetadata: {name: b}\n"
    assert restored(both, None, {("K", "a")}) == "kind: K\nmetadata: {name: b}\n"
