"""The port for the proxies' log: open while Sternway leads, off on demand, and a clear word when it is taken."""

import asyncio

import pytest

from sternway.errors import InvalidInput
from sternway.signals.access_log_server import AccessLogServer


async def opens(port: int) -> bool:
    """Whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_it_listens_from_start_to_stop_and_can_begin_again():
    """A process that leads, stands by and leads again."""
    server = AccessLogServer("127.0.0.1:0", lambda _: None)
    for _ in range(2):
        await server.start()
        port = server.port
        assert await opens(port)
        await server.stop()
        assert not server.port
        assert not await opens(port)


@pytest.mark.parametrize("listen", ["off", ""])
async def test_off_is_nowhere(listen: str):
    """Neither a port nor an error."""
    server = AccessLogServer(listen, lambda _: None)
    await server.start()
    assert server.port == 0
    await server.stop()


async def test_a_port_that_is_taken_is_told_with_the_way_out():
    """The option is named, and what to say instead."""
    first = AccessLogServer("127.0.0.1:0", lambda _: None)
    await first.start()
    second = AccessLogServer(f"127.0.0.1:{first.port}", lambda _: None)
    with pytest.raises(InvalidInput, match=r"--access-log: nothing can listen at 127.0.0.1:\d+.*or off"):
        await second.start()
    await second.stop()
    await first.stop()
