"""RegOT: safe and sparse Newton iterations (Tang, Qiu 2024)."""

import numpy as np
import regot


def ssns(problem, request):
    # Its threshold is on the Euclidean norm of what the marginals miss: this one is met where the L1 error is below 1e-9.
    def run():
        result = regot.sinkhorn_ssns(
            problem.cost, problem.source, problem.target, problem.epsilon, tol=3e-11, max_iter=200
        )
        # P = exp((alpha + beta - C) / epsilon), the last beta being 0 where it is left out.
        n, m = problem.cost.shape
        dual = np.zeros(n + m)
        dual[: len(result.dual)] = np.ravel(result.dual)
        epsilon = problem.epsilon
        f, g = dual[:n] - epsilon * np.log(problem.source), dual[n:] - epsilon * np.log(problem.target)
        return {"f": f, "g": g}, result.niter

    return run


SOLVERS = {"ssns": ssns}
