"""Streams a recording through its releases. Called by `sternway.cli.backtesting` through the package.

Lines of a release may stand together or among those of others. A release that has not been heard of while a thousand
others were is put to rest: it keeps its evidence and little else, so that memory stays bounded in long files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from sternway.backtest.lines import Answer, Count, Line, parse, refuse
from sternway.backtest.peers import Chosen
from sternway.backtest.release import Counting, ReleaseReplay
from sternway.backtest.results import Backtested
from sternway.domain.guards import Guard
from sternway.domain.trails import TrailMaker

AT_ONCE = 1000


def backtest(
    lines: Iterable[Line],
    guard: Guard,
    *,
    counting: Callable[[], Counting],
    rules: tuple[Chosen, ...] = (),
    follow: str | None = None,
) -> tuple[Backtested, ...]:
    """Replay every release, in the order of their first lines. Raises InvalidInput at the first line that is wrong.

    follow: the release whose evidence over time is wanted.
    """
    replays: dict[str, ReleaseReplay] = {}
    active: OrderedDict[str, ReleaseReplay] = OrderedDict()
    latest = ""
    metrics = frozenset(one.name for one in guard.judge.metrics if one.ratio or one.slower)
    for line in lines:
        if line.text.isspace():
            continue
        told = parse(line, metrics)
        if told.release != latest:
            latest = told.release
            replay = active.get(latest)
            if replay is not None:
                active.move_to_end(latest)
            else:
                replay = replays.get(latest)
                if replay is None:
                    trail = TrailMaker(latest) if latest == follow else None
                    replay = replays[latest] = ReleaseReplay(latest, guard, counting, rules, trail=trail)
                else:
                    _check_mutes(line, told, guard, replay)
                active[latest] = replay
                if len(active) > AT_ONCE:
                    active.popitem(last=False)[1].rest()
        assert replay is not None
        _check(line, told, replay)
        replay.add(told)
    return tuple(replay.finish() for replay in replays.values())


def _check(line: Line, told: Answer | Count, replay: ReleaseReplay) -> None:
    """Check a line against the lines of its release before it."""
    if told.t < replay.last_t:
        said = f"{told.t:g} goes back, {told.release} was at {replay.last_t:g} already"
        refuse(line, "t", said, "sort the lines of each release by t")
    tallies = isinstance(told, Count)
    if replay.tallies is None:
        replay.tallies = tallies
    elif replay.tallies is not tallies:
        said = f"{told.release} is told by outcomes and by tallies"
        refuse(line, "criterion" if tallies else "status", said, "keep one kind for each release")


def _check_mutes(line: Line, told: Answer | Count, guard: Guard, replay: ReleaseReplay) -> None:
    """A release at rest has forgotten which cluster keys were muted: it may only come back when none would be."""
    key = guard.judge.cluster_key
    if key is not None and not replay.tallies and told.t - replay.last_t < key.mute_s:
        said = f"{told.release} comes back after {AT_ONCE} other releases"
        refuse(line, "release", said, "sort the file by release, or split it")
