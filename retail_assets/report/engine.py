"""The engine of charts, run as a process of its own: Vega-Lite specifications in JSON from stdin, SVG texts in JSON to stdout.

Imports nothing of the project, so that it starts at once.
"""

import json
import sys

import vl_convert

if __name__ == "__main__":
    # No address may be fetched, whatever a specification says.
    json.dump([vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]) for spec in json.load(sys.stdin)], sys.stdout)
