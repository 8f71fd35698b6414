"""The error tree. Each kind tells the loop, or the person, what to do next.

SternwayError
├── InvalidInput        something a person wrote is wrong: names the file, the field and the fix; stop
├── Refused             a request that does not fit the present state or a provider's abilities; stop
└── Temporary           the world is not ready; the loop tries again after `retry_in_s`
    ├── PlatformUnavailable   processes could not be started, stopped or described
    ├── NotApplied            the proxies did not take a configuration
    ├── HistoryUnavailable    the Git server or repository did not answer
    ├── SignalUnavailable     a monitoring system did not answer, or not with what was asked for
    ├── NotTold               people could not be told; nothing else waits for it
    └── StoreUnavailable      the journal could not be written (a full disk, a lock)

A vendor's exception stops at its adapter: `raise NotApplied(...) from exc`.
"""

from dataclasses import dataclass


class SternwayError(Exception):
    """Everything that Sternway raises on purpose. `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file: where it stands and how to mend it."""

    file: str
    line: int | None = None
    field: str = ""
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        fix = f" ({self.fix})" if self.fix else ""
        return f"{place}:{field} {self.message}{fix}"


class InvalidInput(SternwayError):
    """Something a person wrote is wrong. Carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems


class Refused(SternwayError):
    """A request that does not fit the present state or what a provider can do."""


class Temporary(SternwayError):
    """The world is not ready: try again after `retry_in_s` seconds."""

    def __init__(self, message: str, *, hint: str = "", retry_in_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_in_s = retry_in_s


class PlatformUnavailable(Temporary):
    """Workloads could not be started, stopped or described."""


class NotApplied(Temporary):
    """The proxies did not take a configuration; what they had stays in force."""


class HistoryUnavailable(Temporary):
    """The Git server or repository did not answer."""


class SignalUnavailable(Temporary):
    """A monitoring system did not answer, or not with what was asked for: blindness, never failure."""


class NotTold(Temporary):
    """A message did not reach people. Never holds a secret of their address."""


class StoreUnavailable(Temporary):
    """The journal could not be written: nothing may be done that is not recorded."""
