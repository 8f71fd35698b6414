"""Before anything is released: how soon a Guard would find a fault, and what that would cost. Called by `sternway check`.

Rule: pure. Releases are simulated with seeds through the production judge and the engine's own shares, so the same
Guard and traffic give the same forecast. Read `releases` first.
"""

from sternway.forecast.advice import Advice, advise, words
from sternway.forecast.detection import Blind, Fault, Forecast, Found, Known, forecast

__all__ = ["Advice", "Blind", "Fault", "Forecast", "Found", "Known", "advise", "forecast", "words"]
