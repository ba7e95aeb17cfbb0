"""Tests of the pure functions on frames."""
