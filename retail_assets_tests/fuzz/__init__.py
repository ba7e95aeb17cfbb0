"""Damaged and hostile files, made from valid ones by a seed, landed in a process of bounded memory and time, and every line counted.

    python -m retail_assets_tests.fuzz --cases 2000 --seed 1

`cases` makes the files, `counting` counts their lines by other means than the product, `bounded` lands them, `campaign` holds one against the other.
"""

from retail_assets_tests.fuzz.campaign import Counts, Finding, fuzz

__all__ = ["Counts", "Finding", "fuzz"]
