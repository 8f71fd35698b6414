"""A Git origin with the shop's manifests, and a clone in which a developer works. Used by `demo.run` and the benches."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from sternway.errors import HistoryUnavailable

TRIES = 5
MANIFESTS = Path(__file__).parent / "shop" / "manifests"


class Origin:
    """`url` is the bare repository that Sternway watches; `clone` is the developer's work tree."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "origin.git")
        self.clone = folder / "shop"

    async def create(self, manifests: Path = MANIFESTS) -> None:
        """Make both, with the manifests as the first commit."""
        await self._git("init", "-q", "--bare", "-b", "main", self.url)
        await self._git("clone", "-q", self.url, str(self.clone))
        await self._in_clone("checkout", "-q", "-B", "main")
        shutil.copytree(manifests, self.clone, dirs_exist_ok=True)
        await self._push("The shop as it stands")

    async def change(self, file: str, old: str, new: str, message: str) -> str:
        """Edit a file as a developer would, commit and push; returns the commit."""
        await self._in_clone("pull", "-q", "--rebase", "origin", "main")
        path = self.clone / file
        text = path.read_text()
        if old not in text:
            raise HistoryUnavailable(f"{file} does not hold {old!r}: the demo's story does not fit the repository")
        path.write_text(text.replace(old, new))
        return await self._push(message)

    async def read(self, file: str) -> str:
        """A file as the origin has it now."""
        await self._in_clone("pull", "-q", "--rebase", "origin", "main")
        return (self.clone / file).read_text()

    async def _push(self, message: str) -> str:
        await self._in_clone("add", "--all")
        await self._in_clone("commit", "-q", "-m", message)
        for left in reversed(range(TRIES)):
            try:
                await self._in_clone("push", "-q", "origin", "main")
                break
            except HistoryUnavailable:
                if not left:
                    raise
                # A revert may have come in between, as from any colleague: what is there first, then the change.
                await self._in_clone("pull", "-q", "--rebase", "origin", "main")
        return (await self._in_clone("rev-parse", "HEAD")).strip()

    async def _in_clone(self, *words: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@shop.example", "-c", "commit.gpgSign=false")
        return await self._git("-C", str(self.clone), *who, *words)

    async def _git(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "git", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            raise HistoryUnavailable(f"git {words[-1]} failed: {err.decode(errors='replace').strip()}")
        return out.decode()
