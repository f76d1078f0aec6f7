"""Exact solvers: POT's network simplex, assignments of SciPy and lapx, and the line.

A plan comes back as entries: its sources, targets and masses, n + m of each, filled up with zeros.
"""

import os

for backend in ("JAX", "PYTORCH", "TENSORFLOW", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import lap
import numpy as np
import ot
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

PIVOTS = 10**9


def costs(problem):
    """The matrix of costs, made where there are points."""
    if hasattr(problem, "cost"):
        return problem.cost
    matrix = ot.dist(problem.x, problem.y)
    matrix *= 0.5
    return matrix


def entries(problem, sources, targets, masses):
    capacity = len(problem.source) + len(problem.target)
    table = np.zeros((capacity, 3))
    table[: len(sources)] = np.column_stack([sources, targets, masses])
    return {"entries": table}


def emd(problem, request):
    def run():
        plan = ot.lp.emd(problem.source, problem.target, costs(problem), numItermax=PIVOTS)
        sources, targets = np.nonzero(plan)
        return entries(problem, sources, targets, plan[sources, targets]), 0

    return run


def emd2(problem, request):
    def run():
        return {"value": np.array([ot.emd2(problem.source, problem.target, costs(problem), numItermax=PIVOTS)])}, 0

    return run


def emd_lazy(problem, request):
    def run():
        _, log = ot.lp.emd2_lazy(
            problem.x, problem.y, problem.source, problem.target, numItermax=PIVOTS, log=True
        )
        plan = log["G"].tocoo()
        return entries(problem, plan.row, plan.col, plan.data), 0

    return run


def assignment(solve):
    def prepare(problem, request):
        def run():
            targets = solve(costs(problem))
            return entries(problem, np.arange(len(targets)), targets, problem.source), 0

        return run

    return prepare


def line(distance):
    def prepare(problem, request):
        x, y = problem.x[:, 0], problem.y[:, 0]

        def run():
            return {"value": np.array([distance(x, y, problem.source, problem.target)])}, 0

        return run

    return prepare


SOLVERS = {
    "emd": emd,
    "emd2": emd2,
    "emd_lazy": emd_lazy,
    "scipy": assignment(lambda cost: linear_sum_assignment(cost)[1]),
    "lapjv": assignment(lambda cost: lap.lapjv(cost, return_cost=False)[0]),
    "lapjvs": assignment(lambda cost: lap.lapjvs(cost, return_cost=False)[1]),
    "scipy_line": line(wasserstein_distance),
    "pot_line": line(lambda x, y, a, b: ot.wasserstein_1d(x, y, a, b, p=1)),
}
