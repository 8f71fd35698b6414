"""Objects of one kind in memory, found by name, by owner, or by what a function says of them. Filled by `reflector`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from sternway.kubernetes.api import Object, key_of

Key = tuple[str, str]
"""(namespace, name)"""
Index = Callable[[Object], Iterable[str]]
"""Under which words an object is found."""


def owners(obj: Object) -> Iterable[str]:
    """The index by the uids of what owns it."""
    return (owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ())


class Shelf:
    """What is known of one kind of objects. Whoever reads an object must not change it."""

    def __init__(self, indexes: Mapping[str, Index]) -> None:
        self._indexes = indexes
        self._objects: dict[Key, Object] = {}
        self._found: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in indexes}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(tuple(self._objects.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        """One object; None when there is none."""
        return self._objects.get((namespace, name))

    def find(self, index: str, word: str) -> tuple[Object, ...]:
        """Every object that the index has under the word, as they came."""
        return tuple(self._objects[key] for key in self._found[index].get(word, ()))

    def keys(self) -> frozenset[Key]:
        """What is there."""
        return frozenset(self._objects)

    def put(self, obj: Object) -> bool:
        """Keep an object in place of the one that had its name. True when it was not known so."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return False
        if old is not None:
            self._unindex(key, old)
        self._objects[key] = obj
        for name, index in self._indexes.items():
            for word in index(obj):
                self._found[name].setdefault(word, {})[key] = None
        return True

    def drop(self, key: Key) -> bool:
        """Forget an object. True when it was known."""
        old = self._objects.pop(key, None)
        if old is not None:
            self._unindex(key, old)
        return old is not None

    def _unindex(self, key: Key, old: Object) -> None:
        for name, index in self._indexes.items():
            words = self._found[name]
            for word in index(old):
                words.get(word, {}).pop(key, None)
                if not words.get(word):
                    words.pop(word, None)
