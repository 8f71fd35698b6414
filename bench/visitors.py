"""Visitors in a process of their own: a load beside what is measured, not inside. Used by every bench with traffic."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sternway.demo.load import Ask, Load

ROOT = Path(__file__).parent.parent
KEPT = 400_000
_STOP_S = 30.0
ASKS = (Ask(path="/{n}", share=95), Ask(path="/", share=5, method="POST", body="{}"))
"""Mostly safe requests, and some that nobody may repeat."""


class Seen(NamedTuple):
    """One answer as its visitor saw it. at_s: epoch; arrived_s: monotonic clock of the replica, None if none answered."""

    at_s: float
    method: str
    status: int
    version: str
    arrived_s: float | None

    @property
    def failed(self) -> bool:
        """No answer, or a server's error."""
        return self.status == 0 or self.status >= 500


@dataclass(slots=True)
class Visit:
    """What became of the load; complete once the visitors are gone."""

    answers: list[Seen] = field(default_factory=list)
    held_back: int = 0


@contextlib.asynccontextmanager
async def visitors(address: str, rate_per_s: float) -> AsyncIterator[Visit]:
    """Load an address until the block ends; the answers are there after it."""
    visit = Visit()
    with TemporaryDirectory(prefix="sternway-bench-") as folder:
        out = Path(folder) / "answers.json"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.visitors", f"http://{address}", str(rate_per_s), str(out), cwd=ROOT
        )
        try:
            yield visit
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        found = json.loads(await asyncio.to_thread(out.read_text))
        visit.held_back = found["held_back"]
        visit.answers += [Seen(*answer) for answer in found["answers"]]


async def _visit(url: str, rate_per_s: float, out: Path) -> None:
    load = Load(url, rate_per_s=rate_per_s, asks=ASKS, keep=KEPT, users=1_000_000)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, load.stop)
    await load.run()
    answers = []
    for answer in load.answers:
        version, _, arrived = answer.version.partition("@")
        answers.append((answer.at_s, answer.method, answer.status, version, float(arrived) if arrived else None))
    out.write_text(json.dumps({"held_back": load.held_back, "answers": answers}))  # noqa: ASYNC240 - the load is over


if __name__ == "__main__":
    asyncio.run(_visit(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])))
