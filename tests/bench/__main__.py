"""The command line of the benchmarks; `scripts/bench` starts it."""

from __future__ import annotations

import argparse

from tests.bench import dispatch, fanout, kube_overhead, overhead, starts, submit, throughput, workers
from tests.bench.figures import machine

PACKAGES = ("gunicorn", "gevent", "redis", "flask", "flask-sock", "celery", "sqlalchemy", "channels", "channels-redis", "uvicorn")
ON_CLUSTER = ("gunicorn", "gevent", "redis", "celery", "sqlalchemy", "kubernetes")


def main() -> None:
    """Parse, and run the benchmarks one after the other."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures Podwire beside plainer ways of doing the same; nothing passes or fails."
    )
    parts = parser.add_subparsers(dest="part", required=True)
    adders = {"fanout": [_fanout], "submit": [_submit], "overhead": [_overhead, _pods]}
    adders |= {"dispatch": [_dispatch], "workers": [_workers], "throughput": [_throughput], "starts": [_starts]}
    adders["all"] = [_fanout, _submit, _overhead, _dispatch]
    for name, own in adders.items():
        part = parts.add_parser(name)
        part.add_argument("--rounds", type=int, default=3, help="how often each side is measured, in turn (default %(default)s)")
        for add in own:
            add(part)
    options = parser.parse_args()
    if getattr(options, "launcher", "local") == "kubernetes":
        print(machine(ON_CLUSTER))
        return {"overhead": kube_overhead, "throughput": throughput, "starts": starts}[options.part].run(options)
    print(machine(PACKAGES))
    for module in (fanout, submit, overhead, dispatch, workers):
        # Hundreds of real runs are too much for a machine that has other work: only when asked for by name.
        if options.part == module.__name__.rpartition(".")[2] or (options.part == "all" and module is not workers):
            module.run(options)


def _fanout(part: argparse.ArgumentParser) -> None:
    part.add_argument("--parts", nargs="+", choices=["one", "many", "idle"], default=["one", "many", "idle"])
    part.add_argument("--servers", nargs="+", default=["podwire", "channels", "flask-sock"], metavar="SERVER")
    part.add_argument("--sockets", type=int, default=1_000, help="sockets that watch one run (default %(default)s)")
    part.add_argument("--runs", type=int, default=1_000, help="runs with one socket each (default %(default)s)")
    part.add_argument("--idle", type=int, default=10_000, help="idle sockets (default %(default)s)")
    part.add_argument("--seconds", type=float, default=2.0, help="how long each rate is kept up (default %(default)s)")
    part.add_argument("--asgi", choices=["uvicorn", "daphne"], default="uvicorn", help="what serves Channels")
    part.add_argument("--layer", choices=["pubsub", "core"], default="pubsub", help="layer of channels_redis")
    part.add_argument("--verbose", action="store_true", help="print each step")


def _dispatch(part: argparse.ArgumentParser) -> None:
    part.add_argument("--queued", nargs="+", type=int, default=[1_000, 10_000, 100_000], help="lengths of the queue")
    if part.get_default("databases") is None:
        _databases(part)


def _workers(part: argparse.ArgumentParser) -> None:
    part.add_argument("--active", type=int, default=500, help="runs that the worker follows (default %(default)s)")
    part.add_argument("--every", type=float, default=10.0, help="seconds between two lines of a run (default %(default)s)")
    if part.get_default("seconds") is None:
        part.add_argument("--seconds", type=float, default=30.0, help="how long is measured (default %(default)s)")


def _databases(part: argparse.ArgumentParser) -> None:
    part.add_argument("--databases", nargs="+", choices=["postgresql", "sqlite"], default=["postgresql", "sqlite"])


def _submit(part: argparse.ArgumentParser) -> None:
    _databases(part)
    part.add_argument("--requests", type=int, default=1_000, help="submissions in each round (default %(default)s)")
    part.add_argument("--connections", type=int, default=16, help="connections kept open (default %(default)s)")


def _overhead(part: argparse.ArgumentParser) -> None:
    part.add_argument("--programs", nargs="+", choices=list(overhead.PROGRAMS), default=list(overhead.PROGRAMS))
    part.add_argument("--pairs", type=int, default=40, help="runs of each program (default %(default)s)")


def _pods(part: argparse.ArgumentParser) -> None:
    _launcher(part, "local", "kubernetes")
    part.add_argument("--cpu", type=float, default=0.2, help="cores of each pod (default %(default)s)")


def _throughput(part: argparse.ArgumentParser) -> None:
    _launcher(part, "kubernetes")
    part.add_argument("--megabytes", type=int, default=200, help="output of one run (default %(default)s)")


def _starts(part: argparse.ArgumentParser) -> None:
    _launcher(part, "kubernetes")
    part.add_argument("--runs", type=int, default=50, help="how many at once (default %(default)s)")
    part.add_argument("--cpu", type=float, default=0.02, help="cores of each; all should fit at once (default %(default)s)")


def _launcher(part: argparse.ArgumentParser, *names: str) -> None:
    text = "where runs run (default %(default)s); kubernetes: the cluster of KUBECONFIG"
    part.add_argument("--launcher", choices=names, default=names[0], help=text)


if __name__ == "__main__":
    main()
