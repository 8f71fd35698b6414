"""Which mesh carries a service: as its Guard says, as the operator was told, or as routes and pods show. Used by `cluster`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sternway.domain.traffic import Can
from sternway.errors import Refused
from sternway.kubernetes import reading
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.ours import split_key
from sternway.kubernetes.reading import WORKLOADS, behind, own_selector, selected
from sternway.kubernetes.remembered import Remembered
from sternway.kubernetes.resources import NAMESPACES, SERVICES
from sternway.traffic.kubernetes.dialect import Dialect
from sternway.traffic.kubernetes.registry import DIALECTS, detect, dialect


class Reader(reading.Reader, Protocol):
    """The cluster, and which kinds of routes it has."""

    def serves(self, resource: Resource) -> bool:
        """Whether the API has this kind."""
        ...

    def about(self, resource: Resource, service: str) -> Sequence[Object]:
        """The objects of a kind of routes that are about a service."""
        ...


class Meshes:
    """Finds a service's mesh. guard: the one that governs a service; told: the operator's `--mesh`, or ""."""

    def __init__(self, reader: Reader, *, guard: Callable[[str], Object | None], told: str) -> None:
        self._reader = reader
        self._guard = guard
        self._told = told
        self._last: dict[str, Dialect] = {}
        self._detected: Remembered[Dialect] = Remembered(reader.basis)

    def here(self) -> tuple[str, ...]:
        """The meshes whose routes this cluster has."""
        return tuple(one.name for one in DIALECTS if not one.routes or any(map(self._reader.serves, one.routes)))

    def dialect(self, service: str) -> Dialect:
        """How a service's mesh is spoken to. Raises Refused where its routes are of two meshes."""
        return self._detected.get(service, self._detect)

    def named(self, service: str) -> tuple[str, frozenset[Can]]:
        """The mesh's name and what it can do. Routes that became ambiguous change nothing; the router says so."""
        try:
            found = self._last[service] = self.dialect(service)
        except Refused:
            if service not in self._last:
                return "", frozenset()
            found = self._last[service]
        return found.name, found.capabilities

    def _detect(self, service: str) -> Dialect:
        stated = ((self._guard(service) or {}).get("spec") or {}).get("mesh")
        if stated in self.here():  # any other is a problem of the Guard, which changes nothing
            return dialect(stated)
        if self._told:
            return dialect(self._told)
        reader = self._reader
        namespace, name = split_key(service)
        found = reader.get(SERVICES, name, namespace)
        selector = own_selector(found) if found is not None else {}
        every = [one for kind in WORKLOADS for one in selected(reader, kind, selector, namespace)]
        behind_it = behind(found, every) if found is not None else []
        space = reader.get(NAMESPACES, namespace)
        return detect(
            service,
            lambda kind: reader.about(kind, service),
            serves=reader.serves,
            marked=[*([space] if space is not None else []), *(one["spec"]["template"] for one in behind_it)],
        )
