"""What `make demo` shows: a small real shop, and the traffic that it serves. Imports little on purpose."""
