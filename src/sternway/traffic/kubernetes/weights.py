"""Shares in parts per million as the whole numbers that a mesh counts in, and back. Pure; used by the dialects."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from sternway.domain.traffic import MILLION


def scaled(whole: int, shares_ppm: Sequence[int], others: Sequence[int], *, most: int) -> tuple[list[int], list[int]]:
    """Share out the weight `whole` exactly where whole numbers up to `most` can, with as small numbers as do it.

    Returns the parts, and the weights of the others enlarged by the same factor. What cannot be exact is rounded; then a
    share that is asked for is never nothing.
    """
    factor = 1
    while any(whole * factor * ppm % MILLION for ppm in shares_ppm):
        if factor * 10 * max(whole, *others, 1) > most:
            break
        factor *= 10
    return parts(whole * factor, shares_ppm), [other * factor for other in others]


def parts(total: int, shares: Sequence[int]) -> list[int]:
    """Whole parts of `total` in proportion to `shares`: they sum to it; the largest takes what rounding leaves."""
    sum_ = sum(shares)
    found = [max(1, round(total * share / sum_)) if share else 0 for share in shares]
    largest = found.index(max(found))
    found[largest] += total - sum(found)
    return found


def ppm(weights: Sequence[int]) -> list[int]:
    """The shares that weights stand for; nothing at all when they are all 0."""
    return parts(MILLION, weights) if sum(weights) else [0 for _ in weights]


def reduced(weights: Sequence[int]) -> list[int]:
    """The same proportions in one spelling: percentages where whole ones do, else the smallest numbers."""
    common = gcd(*weights) or 1
    found = [weight // common for weight in weights]
    total = sum(found)
    return [weight * 100 // total for weight in found] if total and 100 % total == 0 else found
