"""What each mesh's dialect writes, held against golden files, and what must be so whatever it writes."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import yaml
from kube_traffic_world import Case, cases, key_of

from sternway.domain.traffic import MILLION
from sternway.traffic.kubernetes.dialect import SPLIT, made_for, users

every = pytest.mark.parametrize(
    "case", [pytest.param(one, id=f"{one.path.parent.name}/{one.path.name}") for one in cases()]
)


@every
def test_what_is_written_is_what_the_golden_file_holds(case: Case):
    """A change of what a mesh is told is seen in review; `python kube_traffic_world.py` writes the files anew."""
    assert list(case.written()) == list(yaml.safe_load_all(case.out.read_text()))


@every
def test_writing_again_changes_nothing(case: Case):
    """The same wish over what was written for it gives the same objects: a pass may be repeated."""
    assert case.dialect.write(case.wish, case.after()) == case.written()


@every
def test_what_is_in_force_is_read_back(case: Case):
    """The shares that the objects say are the shares that were wished, to the last part per million."""
    standing = case.dialect.read(case.wish.backends, case.after())
    assert standing is not None
    assert standing.shares == case.wish.shares
    assert sum(ppm for _, ppm in standing.shares) == MILLION


@every
def test_nothing_is_written_into_what_was_given(case: Case):
    """A dialect is pure: objects of the store are never changed in place."""
    before = deepcopy(case.seen)
    case.written()
    assert case.seen == before


@every
def test_the_users_objects_are_restored_as_they_were(case: Case):
    """Without the Guard every object of the user is as before, and nothing of ours is asked for."""
    restored = {key_of(obj): obj for obj in case.dialect.restore(case.wish.key, case.after())}
    for obj in (one for one in case.seen if one["kind"] != "Service"):  # its selector is given back by the platform
        found = restored.get(key_of(obj), obj)
        assert {
            **found,
            "metadata": {**found["metadata"], "annotations": found["metadata"].get("annotations") or {}},
        } == {
            **obj,
            "metadata": {**obj["metadata"], "annotations": obj["metadata"].get("annotations", {})},
        }
    assert not [obj for obj in restored.values() if made_for(obj)]


@every
def test_the_last_wish_alone_counts(case: Case):
    """Whatever was written before, the way back to stable is written as if it were the first word."""
    back = replace(case.wish, shares=(("orders-stable", MILLION), ("orders-candidate", 0)), pins=(), mirror=None)
    assert case.dialect.write(back, case.after()) == case.dialect.write(back, case.seen)


@every
def test_every_object_is_found_again_by_its_service(case: Case):
    """The reader's index leads from the service to the objects before and after they are written."""
    for obj in (*case.seen, *case.after()):
        assert case.wish.key in case.dialect.names(obj)


@every
def test_objects_of_ours_go_with_the_guard_and_users_never(case: Case):
    """What is ours has the Guard as its owner; what is the user's keeps its own."""
    written = case.written()
    assert all(obj["metadata"]["ownerReferences"] for obj in written if made_for(obj))
    assert not [obj for obj in users(written) if "ownerReferences" in obj["metadata"]]


@every
def test_annotations_are_json_that_names_the_service(case: Case):
    """Who looks at a route can tell that it is shared out, and between whom."""
    for obj in users(case.written()):
        if SPLIT in (obj["metadata"].get("annotations") or {}):
            assert "orders-stable" in json.loads(obj["metadata"]["annotations"][SPLIT])["orders.shop"]["to"]
