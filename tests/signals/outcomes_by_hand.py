"""Short ways to write outcomes and to look at readings."""

from sternway.domain.tallies import Question
from sternway.signals.counting import Outcome

QUESTION = Question(stable="v1", candidate="v2")
GOOD = Outcome(service="orders", version="v1", at_s=100.0, duration_ms=10.0, status=200, request_id="r")


def good(version="v1", **more):
    """Build an outcome that is fine."""
    return GOOD._replace(version=version, **more)


def bad(version="v2", **more):
    """Build an outcome that failed."""
    return GOOD._replace(version=version, **{"status": 500, **more})


def counts(reading):
    """Show a reading's tallies as (criterion, version, unit or arm) -> (total, bad)."""
    return {
        (tally.criterion, tally.version, str(tally.unit) if tally.arm is None else tally.arm): (tally.total, tally.bad)
        for tally in reading.tallies
    }


def turn(counter, now_s, question):
    """Read, then ask, as the control loop does in each pass."""
    reading = counter.read(now_s)
    counter.ask(now_s, question)
    return reading


async def look(source, service, question):
    """Do the same with a signal source."""
    reading = await source.read(service)
    source.ask(service, question)
    return reading
