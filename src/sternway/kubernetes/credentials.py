"""How we prove who we are: a fixed token or certificate, a file that is renewed, a plugin that is run. Used by `access`."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sternway.kubernetes.errors import Denied

_FRESH_S = 60.0
"""How long a token file's content is taken as it was read."""
_EARLY_S = 30.0
_PLUGIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A client's certificate and its key, as PEM."""

    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What goes with a request: a header's value, a certificate, or neither."""

    authorization: str = field(default="", repr=False)
    certificate: Certificate | None = None


class Credentials(Protocol):
    """Where proofs come from."""

    async def prove(self, *, renew: bool = False) -> Proof:
        """Give a proof. renew: the last one was not accepted."""
        ...


class Fixed:
    """What never changes."""

    def __init__(self, *, authorization: str = "", certificate: Certificate | None = None) -> None:
        self._proof = Proof(authorization=authorization, certificate=certificate)

    async def prove(self, *, renew: bool = False) -> Proof:  # noqa: ARG002 # there is nothing else to give
        """See Credentials."""
        return self._proof


class TokenFile:
    """A token in a file, which the kubelet renews before it ends."""

    def __init__(self, file: Path, *, certificate: Certificate | None = None) -> None:
        self._file, self._certificate = file, certificate
        self._proof, self._until = Proof(), 0.0

    async def prove(self, *, renew: bool = False) -> Proof:
        """See Credentials."""
        if renew or time.monotonic() >= self._until:
            try:
                token = self._file.read_text().strip()
            except OSError as exc:
                raise Denied(f"{self._file}: {exc.strerror}", hint="the token file is not there") from exc
            self._proof = Proof(authorization=f"Bearer {token}", certificate=self._certificate)
            self._until = time.monotonic() + _FRESH_S
        return self._proof


class Exec:
    """A plugin of a cloud, as kubectl runs it; what it printed is used until it ends or is refused."""

    def __init__(
        self,
        *,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        api_version: str,
        cluster: dict[str, Any] | None,
        hint: str,
    ) -> None:
        self._command, self._environment, self._hint = command, environment, hint
        self._api_version = api_version
        spec = {"interactive": False, **({"cluster": cluster} if cluster else {})}
        self._info = json.dumps({"apiVersion": api_version, "kind": "ExecCredential", "spec": spec})
        self._proof: Proof | None = None
        self._until = 0.0
        self._one = asyncio.Lock()

    async def prove(self, *, renew: bool = False) -> Proof:
        """See Credentials."""
        refused = self._proof if renew else None
        async with self._one:
            if self._proof is None or self._proof is refused or time.time() >= self._until:
                self._proof, self._until = self._read(await self._run())
            return self._proof

    async def _run(self) -> bytes:
        name = self._command[0]
        env = {**os.environ, **self._environment, "KUBERNETES_EXEC_INFO": self._info}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as exc:
            raise Denied(f"{name}: {exc.strerror}", hint=self._hint or "the kubeconfig needs this plugin") from exc
        try:
            async with asyncio.timeout(_PLUGIN_S):
                printed, complaint = await process.communicate()
        except TimeoutError as exc:
            raise Denied(f"{name} gave no credentials in {_PLUGIN_S:.0f} s", hint=self._hint) from exc
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise Denied(f"{name} ended with {process.returncode}: {''.join(last)[:200]}", hint=self._hint)
        return printed

    def _read(self, printed: bytes) -> tuple[Proof, float]:
        try:
            status = json.loads(printed)["status"]
            token, chain, key = (status.get(one, "") for one in ("token", "clientCertificateData", "clientKeyData"))
            ends = status.get("expirationTimestamp")
            until = datetime.fromisoformat(ends).timestamp() - _EARLY_S if ends else float("inf")
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise Denied(f"{self._command[0]} printed no ExecCredential", hint=self._hint) from exc
        certificate = Certificate(chain=chain, key=key) if chain and key else None
        return Proof(authorization=f"Bearer {token}" if token else "", certificate=certificate), until
