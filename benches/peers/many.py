"""Many small problems: POT and SciPy in a loop over them, zero weights cut out as its documentation asks callers to.

A request packs the problems into the arrays of one: see the harness. All values come back as one array, in the order of
the pairs (i, j) with i <= j.
"""

import os

for backend in ("JAX", "PYTORCH", "TENSORFLOW", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import numpy as np
import ot
import scipy.stats

PIVOTS = 10**9


def pairs(count):
    return [(i, j) for i in range(count) for j in range(i, count)]


def histograms(value):
    """Histograms on one support: the columns of the target, between which `cost` is."""

    def prepare(problem, request):
        weights = np.ascontiguousarray(problem.target.T)
        kept = [np.flatnonzero(a) for a in weights]

        def run():
            values = []
            for i, j in pairs(len(weights)):
                rows, columns = kept[i], kept[j]
                cost = np.ascontiguousarray(problem.cost[np.ix_(rows, columns)])
                values.append(value(problem, weights[i][rows], weights[j][columns], cost))
            return {"value": np.array(values)}, 0

        return run

    return prepare


def exact(problem, a, b, cost):
    return ot.emd2(a, b, cost, numItermax=PIVOTS)


def entropic(problem, a, b, cost):
    plan = ot.sinkhorn(a, b, cost, problem.epsilon, numItermax=10_000, stopThr=1e-6)
    return np.sum(plan * cost)


def documents(problem, request):
    """Clouds one after the other: all points, all weights, and the sizes in the place of target weights."""
    ends = np.cumsum(problem.target.astype(int))
    clouds = [(problem.x[e - n : e], problem.source[e - n : e]) for e, n in zip(ends, problem.target.astype(int))]

    def run():
        values = []
        for i, j in pairs(len(clouds)):
            (x, a), (y, b) = clouds[i], clouds[j]
            values.append(ot.emd2(a, b, ot.dist(x, y, metric="euclidean"), numItermax=PIVOTS))
        return {"value": np.array(values)}, 0

    return run


def lines(problem, request):
    """Each coordinate axis is a problem."""

    def run():
        values = [
            ot.emd2_1d(problem.x[:, k], problem.y[:, k], problem.source, problem.target)
            for k in range(problem.x.shape[1])
        ]
        return {"value": np.array(values)}, 0

    return run


def scipy_lines(problem, request):
    """The same, of the mean distance."""

    def run():
        values = [
            scipy.stats.wasserstein_distance(problem.x[:, k], problem.y[:, k], problem.source, problem.target)
            for k in range(problem.x.shape[1])
        ]
        return {"value": np.array(values)}, 0

    return run


SOLVERS = {
    "scipy_lines": scipy_lines,
    "exact": histograms(exact),
    "entropic": histograms(entropic),
    "documents": documents,
    "lines": lines,
}
