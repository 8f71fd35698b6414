"""Replay on history: what a Guard, and the rules of other tools, would have done with recorded releases.

Rule: pure. Lines come in as an iterator, results go out; nothing here opens a file, asks a clock or prints. The same
lines give the same results on every machine. Called by `sternway.cli.backtesting`, which also says how outcomes are
counted (`Counting`).
"""

from sternway.backtest.lines import Answer, Count, Line
from sternway.backtest.peers import Chosen, choose_rules
from sternway.backtest.results import Backtested, Summary, summaries
from sternway.backtest.run import backtest

__all__ = ["Answer", "Backtested", "Chosen", "Count", "Line", "Summary", "backtest", "choose_rules", "summaries"]
