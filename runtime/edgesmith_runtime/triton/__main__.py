"""``python3 -m edgesmith_runtime.triton``."""

import sys

from edgesmith_runtime.uncaught import run


def _main() -> int:
    """Run a command, with no more imported than it needs: one waits beside a server, on small devices."""
    if sys.argv[1:] == ["wait"]:
        from edgesmith_runtime.waiting import wait  # noqa: PLC0415 - see above

        return wait()
    if sys.argv[1:2] == ["room"]:
        from edgesmith_runtime.room import main as room  # noqa: PLC0415 - see above

        return room(sys.argv[2:])
    from edgesmith_runtime.triton.cli import main  # noqa: PLC0415 - see above

    return main()


if __name__ == "__main__":
    sys.exit(run(_main))
