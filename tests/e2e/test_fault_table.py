"""The table of faults in README.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_of_the_fault_table_exists():
    """A test that was renamed or removed is missed here."""
    text = Path(__file__).with_name("README.md").read_text()
    named = re.findall(r"\| `(tests/[^`]+)` \|", text)
    assert len(named) > 30
    for node in named:
        file, _, test = node.partition("::")
        assert (ROOT / file).is_file(), node
        assert not test or re.search(rf"def {test}\(", (ROOT / file).read_text()), node
