"""The closed loop: a rule's shares decide what it sees next. Called by `bench`, `tuning` and the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.arena.chance import Bools, Floats, Ints
from bench.arena.rules import Rule, Said, Setup
from bench.arena.streams import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of R releases under a rule, each [R].

    condemned_s, back_s, shipped_s: when it was taken back for good, when traffic was first taken away, when it was
    promoted; NaN where that never happened. hurt: bad answers of the candidate that stable would not have given.
    exposed_s: how long it had traffic while it was looked at.
    """

    condemned_s: Floats
    back_s: Floats
    shipped_s: Floats
    asked: Bools
    withdrawals: Ints
    hurt: Floats
    requests: Ints
    exposed_s: Floats

    @property
    def condemned(self) -> Bools:
        """Who was taken back for good."""
        return ~np.isnan(self.condemned_s)


class _Game:
    """One rule's releases."""

    def __init__(self, rule: Rule, setup: Setup) -> None:
        size = setup.size
        self.rule, self.share = rule, rule.start(setup)
        self.over = np.zeros(size, dtype=bool)
        self.condemned_s, self.back_s, self.shipped_s = (np.full(size, np.nan) for _ in range(3))
        self.asked = np.zeros(size, dtype=bool)
        self.withdrawals, self.requests = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        self.hurt, self.exposed_s = np.zeros(size), np.zeros(size)

    def play(self, world: World, tick: int) -> None:
        answered = world.answers(tick, self.share, self.requests)
        live = ~self.over
        self.hurt += np.where(live, answered.hurt, 0)
        self.requests += np.where(live, answered.seen.errors[:, 0], 0)
        self.exposed_s += np.where(live & (self.share > 0.0), world.lasts_s[tick], 0.0)
        said = self.rule.step(answered.seen)
        self._take(said, live, answered.seen.end_s)
        shipped = live & said.shipped
        if shipped.any():
            self.hurt += np.where(shipped, world.hurt_after(tick + 1), 0.0)

    def _take(self, said: Said, live: Bools, now_s: float) -> None:
        away = live & (said.condemned | said.withdrawn | said.asked)
        self.condemned_s[live & said.condemned] = now_s
        self.back_s[away & np.isnan(self.back_s)] = now_s
        self.shipped_s[live & said.shipped] = now_s
        self.asked |= live & said.asked
        self.withdrawals += live & said.withdrawn
        self.over |= live & (said.condemned | said.shipped | said.asked)
        # Whoever is out keeps the share it had: then what the others see is the same for more of the rules.
        self.share = np.where(self.over, self.share, said.share)

    def outcome(self) -> Outcome:
        return Outcome(
            condemned_s=self.condemned_s,
            back_s=self.back_s,
            shipped_s=self.shipped_s,
            asked=self.asked,
            withdrawals=self.withdrawals,
            hurt=self.hurt,
            requests=self.requests,
            exposed_s=self.exposed_s,
        )


def play(world: World, rules: Mapping[str, Rule]) -> dict[str, Outcome]:
    """Let every rule judge the same releases, until all are decided or time is up."""
    setup = Setup(size=world.size, rate_per_s=world.shape.rate_per_s)
    games = {name: _Game(rule, setup) for name, rule in rules.items()}
    for tick in range(world.ticks):
        going = [game for game in games.values() if not game.over.all()]
        if not going:
            break
        for game in going:
            game.play(world, tick)
    return {name: game.outcome() for name, game in games.items()}
