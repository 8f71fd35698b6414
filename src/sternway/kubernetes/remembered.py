"""What was worked out of a cluster, kept until something that it rests on changes. Used by the operator's adapters.

An answer rests on what was read while it was worked out, and on the answers that were used for it: the reader notes each
question, so nobody has to say which. A change of an object of another service lets nothing of this one fall.

    scenes: Remembered[Scene] = Remembered(reader.basis)
    scenes.get("orders.shop", read)  # reads once, and again when an object changed that `read` came across

Rule: what is worked out waits for nothing, and rests on nothing but the cluster and what is `given`; else `forget` says that
something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Answer:
    """What something that was worked out rests on. A question itself, to whatever it was used for. fallen: called once."""

    __slots__ = ("fallen", "rests_on")

    def __init__(self, fallen: Callable[[], object]) -> None:
        self.fallen = fallen
        self.rests_on: set[Hashable] = set()


class Basis:
    """Which answers rest on which questions. A reader tells it what is read, and what reads otherwise from now on."""

    def __init__(self) -> None:
        self._open: list[Answer] = []
        self._upon: dict[Hashable, set[Answer]] = {}

    def asked(self, question: Hashable) -> None:
        """Note it for the answer that is worked out now, if one is."""
        if self._open:
            self._open[-1].rests_on.add(question)

    def changed(self, questions: Iterable[Hashable]) -> None:
        """Let fall what rests on any of them."""
        for question in questions:
            for answer in self._upon.pop(question, ()):
                self.fall(answer)

    def fall(self, answer: Answer) -> None:
        """Let an answer fall, and everything that it was used for."""
        for question in answer.rests_on:
            others = self._upon.get(question, set())
            others.discard(answer)
            if not others:
                self._upon.pop(question, None)
        answer.fallen()
        self.changed((answer,))

    @contextmanager
    def working_out(self, fallen: Callable[[], object]) -> Iterator[Answer]:
        """Note what is read in the block. Where it fails, that is what the answer around it rests on."""
        answer = Answer(fallen)
        self._open.append(answer)
        try:
            yield answer
        except BaseException:
            self._open.pop()
            for question in answer.rests_on:
                self.asked(question)
            raise
        self._open.pop()
        for question in answer.rests_on:
            self._upon.setdefault(question, set()).add(answer)


class Remembered(Generic[T]):
    """One thing that is worked out for each service."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._found: dict[str, tuple[Answer, T, tuple[object, ...]]] = {}

    def get(self, service: str, find: Callable[[str], T], *given: object) -> T:
        """Give it, and work it out where it is not known. What fails is not remembered.

        given: what else it rests on; it is worked out anew where this is not equal to what it was.
        """
        if service in self._found and self._found[service][2] != given:
            self.forget(service)
        if service not in self._found:
            with self._basis.working_out(partial(self._found.pop, service, None)) as answer:
                found = find(service)
            self._found[service] = (answer, found, given)
        answer, found, _ = self._found[service]
        self._basis.asked(answer)
        return found

    def forget(self, service: str) -> None:
        """Work it out anew: it rests on something else than the cluster, which changed."""
        if service in self._found:
            self._basis.fall(self._found[service][0])
