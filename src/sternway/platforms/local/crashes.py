"""How often a replica ended in quick succession, how long to wait, and the sentence that says so. Used by replica."""

from __future__ import annotations

from typing import Final

_LOOP = 3
_FIRST_S, _LONGEST_S = 0.5, 30.0
_PORT_TAKEN = ("address already in use", "address in use", "eaddrinuse")


class Crashes:
    """Ends of one replica since it last ran steadily. Times are the caller's."""

    STEADY_S: Final = 10.0
    """A process that ran this long starts with a clean record."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._not_started = 0
        self._first_start_s = 0.0
        self._last_end_s = 0.0
        self._last_output = ""

    @property
    def any(self) -> bool:
        """Whether it ended since it last ran steadily."""
        return bool(self._reasons)

    def started(self, at_s: float) -> None:
        """Note that a process runs since `at_s`."""
        self._not_started = 0
        if not self._reasons:
            self._first_start_s = at_s

    def not_started(self) -> None:
        """Note that no process could be started."""
        self._not_started += 1

    def ended(self, at_s: float, why: str, last_output: str) -> None:
        """Note an end; `last_output` is shown to people."""
        self._reasons.append(why)
        self._last_end_s, self._last_output = at_s, last_output

    def steady(self) -> None:
        """Forget: it ran long enough."""
        self._reasons.clear()

    def back_off_s(self) -> float:
        """How long to wait before the next start: none after the first end, then 0.5 s, doubled up to 30 s."""
        doublings = self._not_started - 1 if self._not_started else len(self._reasons) - 2
        return 0.0 if doublings < 0 else min(_LONGEST_S, _FIRST_S * 2.0 ** min(doublings, 16))

    def failure(self) -> str | None:
        """Tell the crash loop as a sentence, when there is one."""
        if len(self._reasons) < _LOOP:
            return None
        output = f"; last output: {self._last_output}" if self._last_output else "; it wrote no output"
        sentence = f"crash loop: {self._story()}{output}"
        if any(sign in self._last_output.lower() for sign in _PORT_TAKEN):
            sentence += " (port taken: the process must listen on the port in PORT or {port}, not on a fixed one)"
        return sentence

    def _story(self) -> str:
        times = f"{len(self._reasons)} times"
        span_s = self._last_end_s - self._first_start_s
        span = f"{span_s:.0f} s" if span_s >= 1 else f"{span_s:.1f} s"
        why = self._reasons[-1]
        if not why.startswith(("exited", "was killed", "ended")):
            return f"was restarted {times} in {span}: {why}"
        if len(set(self._reasons)) > 1:
            return f"ended {times} in {span}, at last it {why}"
        link = next((link for link in (" with ", " by ") if link in why), "")
        verb, _, rest = why.partition(link) if link else (why, "", "")
        return f"{verb} {times}{link}{rest} in {span}"
