"""The local platform: a Deployment's replicas are supervised processes of this machine.

Rule: what runs outlives Sternway. A replica is recorded before it starts, in a session of its own, writing to a
file, so that the next Sternway finds it (`LocalPlatform.start`). Read `replica.py` first: one replica's life.
"""

from sternway.platforms.local.gates import LocalGates
from sternway.platforms.local.launch import cannot_start
from sternway.platforms.local.monitoring import Around, OwnMonitoring, find
from sternway.platforms.local.platform import LocalPlatform
from sternway.platforms.local.rule_check import check_rules

__all__ = ["Around", "LocalGates", "LocalPlatform", "OwnMonitoring", "cannot_start", "check_rules", "find"]
