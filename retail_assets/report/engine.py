"""The engine of charts, run as a process of its own: Vega-Lite specifications in JSON from stdin, SVG texts in JSON to stdout.

Imports nothing of the project, so that it starts at once. Started `ahead` of its work, it loads while nobody else needs the core, and waits.
"""

import json
import os
import sys

import vl_convert

_NOTHING = {"data": {"values": []}, "mark": "point"}

if __name__ == "__main__":
    if sys.argv[1:] == ["ahead"]:
        if hasattr(os, "nice"):
            os.nice(10)
        vl_convert.vegalite_to_svg(_NOTHING, allowed_base_urls=[])
    # No address may be fetched, whatever a specification says.
    json.dump([vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]) for spec in json.load(sys.stdin)], sys.stdout)
    sys.stdout.flush()
    # Whoever waits for the charts need not wait until the engine is taken apart.
    os._exit(0)
