"""Where observations come from. Rule: a source turns what it hears into tallies and decides nothing."""
