"""The judge: folds readings into evidence and says what it means. Called by `sternway.engine` alone.

Rule: pure. The same readings give the same bits; time is an argument. How it judges, with the formulas and their
sources, stands in docs/judge.md.
"""

from sternway.judgement.asking import begin, begin_exposure, question
from sternway.judgement.fold import judge
from sternway.judgement.metrics import find_unseen
from sternway.judgement.otherwise import spared, to_come

__all__ = ["begin", "begin_exposure", "find_unseen", "judge", "question", "spared", "to_come"]
