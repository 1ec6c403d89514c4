"""`make bench`: everything measured in one run on one machine, so that ratios mean something.

Prints a table, part by part, and writes bench/results.json where no part broke: a list of {name, value, unit, against,
ratio}.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from at_run_time import measure_at_run_time
from building import measure_building
from drift_cost import measure_drift_cost
from drift_found import measure_drift_found
from example_builds import measure_examples
from filtering import measure_filtering
from floods import measure_floods
from passes import measure_passes
from peers import measure_peers
from processor import processor
from pruning import measure_pruning
from quantization import measure_quantization
from rollout import measure_rollouts
from row import Row
from sampling_cost import measure_sampling_cost
from serving import measure_serving
from sizes import measure_sizes
from standing import measure_standing
from start import measure_start
from together import measure_together

RESULTS = Path(__file__).with_name("results.json")
_VERDICTS = {None: "", True: "reached", False: "missed"}


PARTS: dict[str, Callable[[], list[Row]]] = {
    "serving": measure_serving,
    "standing": measure_standing,
    "together": measure_together,
    "floods": measure_floods,
    "peers": measure_peers,
    "quantization": measure_quantization,
    "at-run-time": measure_at_run_time,
    "building": measure_building,
    "examples": measure_examples,
    "pruning": measure_pruning,
    "sizes": measure_sizes,
    "start": measure_start,
    "passes": measure_passes,
    "rollout": measure_rollouts,
    "filtering": measure_filtering,
    "sampling-cost": measure_sampling_cost,
    "drift-cost": measure_drift_cost,
    "drift-found": measure_drift_found,
}


def main() -> int:
    """Run the parts asked for and write what they found."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Edgesmith against the parts it is made of.")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part; results.json is left alone")
    parser.add_argument("--hold", action="store_true", help="exit with 1 where an aim is not reached")
    found = parser.parse_args()
    only, hold = found.only, found.hold
    print(f"on {processor()}")
    print(f"{'NAME':<44} {'VALUE':>12} {'UNIT':<8} {'RATIO':>7}  {'AIM':<14} {'':<8} AGAINST", flush=True)
    rows: list[Row] = []
    broken: list[str] = []
    for name, measure in PARTS.items():
        if only in (None, name):
            rows += _measured(name, measure, broken)
    aims = [row for row in rows if row.reached is not None]
    missed = [row for row in aims if not row.reached]
    print(f"{len(aims) - len(missed)} of {len(aims)} aims are reached")
    for row in missed:
        print(f"missed: {row.name}: the ratio is {_shown(row.ratio)}; {row.aim} is the aim")
    for name in broken:
        print(f"not measured: {name}")
    if only is None and not broken:
        RESULTS.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
    return 1 if broken or (missed and hold) else 0


def _measured(name: str, measure: Callable[[], list[Row]], broken: list[str]) -> list[Row]:
    """The rows of a part, which are printed; one that breaks is noted, and the parts after it are measured still."""
    try:
        rows = measure()
    except (Exception, SystemExit):  # noqa: BLE001 -- whatever broke, what else takes an hour is measured
        traceback.print_exc()
        broken.append(name)
        return []
    for row in rows:
        aim = f"{row.aim:<14} {_VERDICTS[row.reached]:<8}"
        print(f"{row.name:<44} {row.value:>12.4g} {row.unit:<8} {_shown(row.ratio):>7}  {aim} {row.against or ''}")
    sys.stdout.flush()
    return rows


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"


if __name__ == "__main__":
    sys.exit(main())
