"""Usage: python hack/stage demo|down [--cluster local|kind|current]."""

import argparse
import sys

from edgesmith_stage.demo import demo, down
from edgesmith_stage.errors import StageError


def main() -> int:
    """Run one verb; 1 and one sentence where it failed."""
    parser = argparse.ArgumentParser(prog="hack/stage", description="The stage for demo, tests and benchmarks.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    shown = verbs.add_parser("demo", help="from nothing to checked predictions on three edge nodes")
    removed = verbs.add_parser("down", help="remove what the demo left running")
    for verb in (shown, removed):
        verb.add_argument("--cluster", choices=("local", "kind", "current"), default="local", help="where it runs")
    arguments = parser.parse_args()
    try:
        {"demo": demo, "down": down}[arguments.verb](arguments.cluster)
    except StageError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
