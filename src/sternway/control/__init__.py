"""The imperative shell: reads the world, asks the engine, records, acts. `reconcile.py` is the way in.

Rule: nothing here names an adapter; it holds ports, and the engine decides.
"""
