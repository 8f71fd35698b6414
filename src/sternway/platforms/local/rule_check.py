"""Rules for Prometheus, checked by Prometheus's own `promtool` where it is found. Called by `bootstrap`, at admission and `check`.

A file that it refuses never reaches the running Prometheus, which would not take it, and could not start with it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sternway.domain.monitoring import RuleFile
from sternway.errors import Problem

PATIENCE_S = 20.0
_LINES = re.compile(r"(?:^|\s)(?:line )?(\d+)(?::\d+)?: ")


async def check_rules(rules: Sequence[RuleFile]) -> tuple[Problem, ...]:
    """Say what is wrong with rules; nothing where no promtool is there to ask."""
    program = shutil.which("promtool")
    if program is None:
        return ()
    return tuple([problem for rule in rules if (problem := await _check(program, rule))])


async def _check(program: str, rule: RuleFile) -> Problem | None:
    with tempfile.TemporaryDirectory(prefix="sternway-rules-") as folder:
        path = Path(folder) / "rules.yml"
        path.write_text(rule.text, encoding="utf-8")
        try:
            process = await asyncio.create_subprocess_exec(
                program, "check", "rules", str(path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
        except OSError:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                said, _ = await process.communicate()
        except TimeoutError:
            return None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return None if process.returncode == 0 else _problem(rule, said.decode(errors="replace"), str(path))


def _problem(rule: RuleFile, said: str, path: str) -> Problem:
    """The first thing that promtool says after `FAILED`, without the name of our copy."""
    words = " ".join(said.partition("FAILED:")[2].replace(f"{path}:", " ").split()) or "it is refused"
    line = _LINES.search(words)
    return Problem(
        file=rule.path,
        line=int(line.group(1)) if line else None,
        message=f"promtool refuses these rules: {words}",
        fix="correct them; `promtool check rules` says the same",
    )
