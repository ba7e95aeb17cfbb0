"""Faults injected into real runs of the program: what README.md promises about them is proved here.

    homes.py      homes to start from, and the tables in which an undisturbed run of each ends
    state.py      what is seen of a home from outside: tables, leftovers, unfinished runs
    kills.py      kill -9 at seeded moments, while a reader looks on
    disks.py      full and read-only disks
    damage.py     warehouses, manifests and notes that are cut off or of another version
    together.py   several runs at once
    outcome.py    what became of a fault, held against the undisturbed run
    reader.py     a BI client as a process of its own
    plan.py       which faults the long and the short suite inject, and the summary

`make chaos` is the long suite; `test_chaos.py` runs the short one as ordinary tests. Nothing in here looks into the program: processes, files,
tables, exit codes and what is said on stderr are all there is.
"""
