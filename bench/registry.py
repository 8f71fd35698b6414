"""Every bench by its name. Used by `python -m bench`; a new bench is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable

from bench import alert, cpu, detect, fleet, hurt, judge, operator, start, switch
from bench.arena import bench as arena
from bench.results import Result

Bench = Callable[[bool], list[Result]]

BENCHES: dict[str, Bench] = {
    "arena": arena.run,
    "judge": judge.run,
    "fleet": fleet.run,
    "start": start.run,
    "switch": switch.run,
    "detect": detect.run,
    "alert": alert.run,
    "hurt": hurt.run,
    "cpu": cpu.run,
    "operator": operator.run,
}
