"""The judge's main path: a reading becomes evidence, the evidence a verdict. Called by the engine at every pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement
from sternway.domain.tallies import Reading
from sternway.judgement import columns
from sternway.judgement.asking import has_history, thresholds_missing, with_thresholds
from sternway.judgement.budget import budget
from sternway.judgement.counting import count
from sternway.judgement.metrics import add_metrics, find_metric_suspicion, fold_metrics
from sternway.judgement.verdict import find_suspicion, list_charges, say


def judge(
    settings: JudgeSettings,
    evidence: Evidence,
    reading: Reading,
    *,
    now_s: float,
    concurrent: bool = True,
    exposed: bool = True,
) -> tuple[Evidence, Judgement]:
    """Fold a reading into the evidence, and say what the evidence means now.

    concurrent False: stable has no traffic beside the candidate, so that only absolute objectives and stable's
    recorded history are left to judge by. exposed False: the candidate has no traffic, so metrics do not blame it.
    """
    spent = budget(settings, history=has_history(evidence))
    before_s = evidence.now_s
    if reading.tallies or _any_open(evidence):
        after = columns.fold(
            settings,
            spent,
            columns.pack([evidence]),
            count(evidence, reading, now_s=now_s),
            now_s=np.array([now_s]),
            concurrent=np.array([concurrent]),
        )
        evidence = columns.unpack(after, evidence, 0)
    else:
        evidence = replace(evidence, now_s=now_s)
    if reading.stable_ms and thresholds_missing(settings, evidence):
        evidence = with_thresholds(settings, evidence, reading.stable_ms)
    evidence = fold_metrics(settings, evidence, reading, now_s=now_s, before_s=before_s, exposed=exposed)
    charges = list_charges(spent, evidence, concurrent=concurrent)
    if not evidence.suspected:
        name, sentence = find_suspicion(spent, evidence, charges)
        if not name and exposed:
            name, sentence = find_metric_suspicion(settings, spent, evidence)
        if name:
            evidence = replace(evidence, suspected=name, suspicion=sentence)
    return evidence, add_metrics(settings, spent, evidence, say(settings, spent, evidence, charges))


def _any_open(evidence: Evidence) -> bool:
    """Whether a block waits for its end; without one, and without counts, time alone changes nothing."""
    began_s = [evidence.race.since_s, evidence.bounded.since_s]
    began_s += [one.since_s for one in evidence.compared]
    began_s += [one.since_s for one in evidence.others]
    began_s += [one.since_s for one in evidence.limited]
    return any(since_s is not None for since_s in began_s)
