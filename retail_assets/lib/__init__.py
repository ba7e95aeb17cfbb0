"""The logic, free of Dagster: pure functions on polars frames, for the assets and for notebooks.

Nothing in here opens a warehouse, reads a setting or a clock.
"""
