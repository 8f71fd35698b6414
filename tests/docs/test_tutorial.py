"""The tutorial is followed word by word, with the real command, a real Envoy and a real Git repository."""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from doc_pages import ROOT, files

from free_ports import free_port
from sternway.demo.load import Ask, Load
from sternway.manifests.load import load

PAGE = ROOT / "docs" / "tutorial.md"
ENDS_WITHIN_S = 100.0
RATE_PER_S = 120.0


class Reader:
    """Somebody who follows the tutorial in a folder of their own, on a port that is free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = PAGE.read_text()
        self.port = str(free_port())
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": "reader" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def writes_the_files(self) -> None:
        """Every file that the page gives."""
        for name, text in files(PAGE).items():
            (self.folder / name).write_text(text.replace("8090", self.port))

    def types(self, line: str) -> str:
        """A line of the page, and nothing but lines of the page."""
        assert line in self.text.splitlines(), f"the tutorial does not say {line!r}"
        words = shlex.split(line.replace("8090", self.port), comments=True)
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def waits_for(self, outcome: str, release: str) -> None:
        """What `status --watch` would show in the end."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while outcome not in (shown := self.types("sternway history greeter")) or release not in shown:
            assert time.monotonic() < deadline, shown
            time.sleep(0.3)


@contextmanager
def callers(port: str):
    """The second terminal: callers who all differ; gives what they saw."""
    load = Load(f"http://127.0.0.1:{port}", rate_per_s=RATE_PER_S, asks=(Ask(path="/", share=1),))
    thread = Thread(target=lambda: asyncio.run(load.run()))
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join()


@pytest.fixture
def reader(tmp_path: Path):
    """A folder with the tutorial's files in it; whatever was started is stopped."""
    reader = Reader(tmp_path / "greeter")
    reader.folder.mkdir()
    reader.types("git init -q")
    reader.writes_the_files()
    yield reader
    subprocess.run(["sternway", "down"], cwd=reader.folder, env=reader.environment, capture_output=True, check=False)


def test_the_files_of_the_tutorial_are_valid_and_guard_one_service():
    """What the page gives is accepted as it stands."""
    given = {name: text for name, text in files(PAGE).items() if name.endswith(".yaml")}
    (wanted,) = load(given).wanted
    assert (wanted.service.name, wanted.service.port, wanted.guard.implicit) == ("greeter", 8090, False)


def test_following_the_tutorial_gives_what_it_says(reader: Reader):
    """A good release is promoted, a bad one rolled back without hurting a caller, and a person goes back by hand."""
    reader.types("sternway check .")
    reader.types("git add .")
    reader.types('git commit -q -m "greeter 1.0.0"')
    reader.types("sternway up . --detach")
    assert reader.types("curl http://127.0.0.1:8090/") == "hello from 1.0.0\n"
    with callers(reader.port) as load:
        reader.types("sternway set image deployment/greeter greeter=greeter:1.1.0")
        reader.waits_for("promoted", "greeter-1")
        reader.types("sternway set image deployment/greeter greeter=greeter:1.2.0")
        reader.waits_for("rolled back", "greeter-2")
        assert "greeter:1.1.0 # the tag says which version runs" in (reader.folder / "greeter.yaml").read_text()
        assert "Sternway-Release: greeter-2" in reader.types("git log -1")
        assert "1.2.0" in reader.types("sternway release show greeter-2")
        assert "every decision as recorded" in reader.types("sternway replay greeter-2")
        reader.types('sternway rollback greeter --reason "the old greeting was nicer"')
        reader.waits_for("rolled back", "greeter-3")
        assert "the old greeting was nicer" in reader.types("git log -1")
    assert load.failed == 0
    assert reader.types("curl http://127.0.0.1:8090/") == "hello from 1.0.0\n"
    reader.types("sternway down")
