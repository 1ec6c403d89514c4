"""The command line: ``python3 hack/cluster VERB``."""

import argparse
import json
import os
import sys

from edgesmith_cluster import cluster, disturb, packages, plan, status, tools
from edgesmith_cluster.catalogue import companions
from edgesmith_cluster.console import Console
from edgesmith_cluster.controlplane import NAME as CONTROL_PLANE
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.state import Record, clusters


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 hack/cluster",
        description="A real Kubernetes with several nodes on this machine, without Docker. Needs Linux and root.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="demo", help="which cluster; several can stand side by side (demo)")
    verbs.add_parser("tools", help="compile what is missing, once")
    up = verbs.add_parser("up", parents=[common], help="start a cluster, over one of the same name")
    up.add_argument("--edges", type=int, default=3, metavar="N", help="how many edge nodes beside the hub (3)")
    up.add_argument(
        "--label", action="append", default=[], metavar="NODE=KEY=VALUE", help="label a node; may be given again"
    )
    up.add_argument(
        "--disk", action="append", default=[], metavar="NODE=MIB", help="give a node a disk of its own, of this size"
    )
    up.add_argument(
        "--uplink", metavar="CLUSTER", help="another cluster that this one reaches and whose registry it mirrors"
    )
    up.add_argument("--json", action="store_true", help="print the status as JSON")
    verbs.add_parser("down", parents=[common], help="stop a cluster and remove every trace of it").add_argument(
        "--all", action="store_true", help="every cluster on this machine"
    )
    verbs.add_parser("status", parents=[common], help="show a cluster").add_argument(
        "--json", action="store_true", help="print it as JSON"
    )
    links = {"cut": "take a link down; what is behind it goes on running", "heal": "take a link up again"}
    for verb, text in links.items():
        verbs.add_parser(verb, parents=[common], help=text).add_argument(
            "link", metavar="LINK", help=f"of a node, edge-1 say, or {plan.UPLINK}"
        )
    power = {
        "off": "take power away: all that runs there ends at once, its disk stays",
        "on": "give power back",
        "restart": "both",
    }
    for verb, text in power.items():
        verbs.add_parser(verb, parents=[common], help=text).add_argument(
            "part",
            metavar="PART",
            nargs="?",
            help=f"a node, edge-1 say, or {CONTROL_PLANE}; without it, the whole cluster",
        )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status: 1 when it failed, 2 when it was called wrongly."""
    options = _parser().parse_args(arguments)
    console = Console()
    # Where runc and nft are; a plain `su` leaves these folders out.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    try:
        _run(console, options)
    except ClusterError as error:
        console.say("\n".join(part for part in (f"error: {error}", error.detail) if part))
        return 1
    except KeyboardInterrupt:
        console.say("interrupted; `up` can be run again at once, `down` removes what there is")
        return 130
    return 0


def _run(console: Console, options: argparse.Namespace) -> None:
    match options.verb:
        case "tools":
            packages.ensure(console, packages.PACKAGES | packages.TESTS)
            print(tools.ensure(console, *companions()))
        case "up":
            name = plan.check_name(options.name)
            nodes = plan.node_names(options.edges)
            labels = plan.parse_labels(options.label, nodes)
            disks = plan.parse_disks(options.disk, nodes)
            if options.uplink == name:
                raise ClusterError(f"--uplink {name} is the cluster itself: expected another one")
            _show(cluster.up(console, name, nodes, labels, disks=disks, uplink=options.uplink), as_json=options.json)
        case "down":
            for name in clusters() if options.all else [plan.check_name(options.name)]:
                cluster.down(console, name)
        case "status":
            _show(disturb.running(plan.check_name(options.name)), as_json=options.json)
        case "cut":
            disturb.cut(options.name, options.link)
        case "heal":
            disturb.heal(options.name, options.link)
        case "off" | "on" | "restart" as verb:
            power = {"off": disturb.off, "on": disturb.on, "restart": disturb.restart}
            power[verb](console, options.name, options.part)


def _show(record: Record, *, as_json: bool) -> None:
    description = status.describe(record)
    if as_json:
        json.dump(description, sys.stdout, indent=2)
        print()
    else:
        print(status.table(description))
