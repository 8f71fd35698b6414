"""A Sternway that is going to be killed: runs app.py under a platform of its own. `host.py STATE FLAGS COUNT [OPTION…]`."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from local_world import World, run

state_dir, flags, count, *options = sys.argv[1:]


async def main() -> None:
    """Start the replicas, say so, and wait to be killed."""
    world = World(state_dir=Path(state_dir), flags=Path(flags))
    workload = world.app(*options)
    platform = world.platform()
    await platform.start()
    await platform.apply("web", [run(workload, int(count))])
    await world.ready(workload, int(count))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async for line in _lines():
        if line == "scale 0":
            await platform.apply("web", [])
            sys.stdout.write("scaled\n")
            sys.stdout.flush()


async def _lines():
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.strip()


asyncio.run(main())
