"""Commands on a Guard are recorded once, whoever dies in between."""

from __future__ import annotations

from sternway.domain.releases import Reply, Verb
from sternway.operator.asking import COMMAND, Answers, Asked, spelled
from sternway.testing.store import MemoryStore

ASKED = Asked(id="7c1e", verb=Verb.PROMOTE, by="ada")
GUARD = {"metadata": {"name": "orders", "annotations": {COMMAND: spelled(ASKED)}}}


async def test_a_command_whose_answer_was_not_written_is_not_obeyed_twice() -> None:
    """The operator died after it had recorded the command: the next one does not promote whatever is released by then."""
    journal = MemoryStore()
    await Answers().take("orders.shop", GUARD, journal, 1.0)

    answers = Answers()
    await answers.take("orders.shop", GUARD, journal, 60.0)

    (command,) = await journal.after("orders.shop", 0)
    assert command.at_s == 1.0
    told = answers.of("orders.shop")
    assert told is not None
    assert (told.id, told.accepted, told.message) == ("7c1e", True, "recorded")
    answers.told(Reply(command=command.id, accepted=False, message="there is no release under way"))
    told = answers.of("orders.shop")
    assert told is not None
    assert (told.accepted, told.message) == (False, "there is no release under way")
