"""Runs the peers: one JSON request a line on the standard input, one reply a line on the standard output.

A request names a solver (``pot.sinkhorn``: a module beside this file, and a solver of it), the folder of the arrays,
their shapes, epsilon, rho (the strength of the Kullback-Leibler penalty of both marginals, or nothing), and when to stop:

    threshold    the peer's own criterion
    iterations   the most iterations, or exactly as many if ``fixed``
    repeats      how often the clock runs, at most, after one run that does not count, within ``budget`` seconds

Arrays are raw little-endian doubles: source.f64 (n), target.f64 (columns x m), and either cost.f64 (n x m) or x.f64
(n x d) and y.f64 (m x d), for the cost |x - y|^2 / 2. A solver returns arrays by name and the iterations it took; they
come back as files. Potentials are called f and g, in the convention

    P = a b^T exp((f + g - C) / epsilon)

f_self and g_self are those of either measure against itself; a loss without potentials is one number, called value. The
clock runs from arrays on the host to these. What a module prepares before (compilation) is left out.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

# Before any library starts threads: as many processors as threads (XLA asks for nothing else).
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])

import numpy as np


class Problem:
    """The arrays of a request."""

    def __init__(self, request):
        n, m, d, columns = (request[key] for key in ("n", "m", "d", "columns"))
        self.folder = Path(request["arrays"])
        self.epsilon, self.rho = request["epsilon"], request["rho"]
        self.source = self.read("source", (n,))
        target = self.read("target", (columns, m))
        self.target = target[0] if columns == 1 else np.ascontiguousarray(target.T)
        if (self.folder / "cost.f64").exists():
            self.cost = self.read("cost", (n, m))
        else:
            self.x, self.y = self.read("x", (n, d)), self.read("y", (m, d))

    def read(self, name, shape):
        return np.fromfile(self.folder / f"{name}.f64", dtype="<f8").reshape(shape)

    def write(self, name, values):
        """Column after column, as the harness has them."""
        np.ascontiguousarray(np.asarray(values).T, dtype="<f8").tofile(self.folder / f"{name}.f64")


def answer(request):
    module, solver = request["solver"].split(".")
    problem = Problem(request)
    run = importlib.import_module(module).SOLVERS[solver](problem, request)
    seconds = []
    while len(seconds) <= request["repeats"] and (not seconds or sum(seconds) + seconds[-1] < request["budget"]):
        start = time.perf_counter()
        outputs, iterations = run()
        seconds.append(time.perf_counter() - start)
    # The first run warms up, and counts only where there is no time for another.
    seconds = seconds[1:] or seconds
    for name, values in outputs.items():
        problem.write(name, values)
    return {"seconds": seconds, "iterations": int(iterations)}


def main():
    # Peers may print: they get the standard error, replies go to what was the standard output.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # whatever a peer raises is told, not raised
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
