"""Where people are told: Alertmanager, and through Apprise the rest. Rule: nothing here decides whom or when.

No secret of an address leaves this package: not in an error, not in a log of the libraries below.
"""
