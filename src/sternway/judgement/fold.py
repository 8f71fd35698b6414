"""The judge's main path: a reading becomes evidence, the evidence a verdict. Called by the engine at every pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement
from sternway.domain.tallies import Reading
from sternway.judgement import columns
from sternway.judgement.asking import thresholds_missing, with_thresholds
from sternway.judgement.budget import budget
from sternway.judgement.counting import count
from sternway.judgement.verdict import find_suspicion, list_charges, say


def judge(
    settings: JudgeSettings, evidence: Evidence, reading: Reading, *, now_s: float, concurrent: bool = True
) -> tuple[Evidence, Judgement]:
    """Fold a reading into the evidence, and say what the evidence means now.

    concurrent False: stable has no traffic beside the candidate, so that only absolute objectives and stable's
    recorded history are left to judge by.
    """
    spent = budget(settings)
    batch = count(evidence, reading, now_s=now_s)
    after = columns.fold(
        settings,
        spent,
        columns.pack([evidence]),
        batch,
        now_s=np.array([now_s]),
        concurrent=np.array([concurrent]),
    )
    evidence = columns.unpack(after, evidence, 0)
    if reading.stable_ms and thresholds_missing(settings, evidence):
        evidence = with_thresholds(settings, evidence, reading.stable_ms)
    charges = list_charges(spent, evidence, concurrent=concurrent)
    if not evidence.suspected:
        name, sentence = find_suspicion(spent, evidence, charges)
        if name:
            evidence = replace(evidence, suspected=name, suspicion=sentence)
    return evidence, say(settings, spent, evidence, charges)
