"""Fixtures: folders with short names, a platform of this process, a shell beside a platform of its own."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from whole_world import Platform, Repository, Shell, cleaned


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder whose name leaves room for the names of sockets."""
    made = Path(tempfile.mkdtemp(prefix="sw-e2e-")).resolve()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def repository(folder: Path) -> Repository:
    """Give a user's empty repository."""
    return Repository(folder / "shop")


@pytest.fixture
def shell(repository: Repository) -> Iterator[Shell]:
    """Give a shell in the repository; nothing runs any more when the test has ended."""
    with cleaned(Shell(repository.folder)) as made:
        yield made


@pytest_asyncio.fixture
async def started(repository: Repository) -> AsyncIterator[Callable[..., Awaitable[Platform]]]:
    """Give a function that starts a platform on the repository in this process."""
    async with AsyncExitStack() as stack:

        async def start(**options: object) -> Platform:
            platform = Platform(repository, **options)
            stack.push_async_callback(platform.sternway.close, stop=True)
            await platform.start()
            return platform

        yield start
