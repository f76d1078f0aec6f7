"""POT: Sinkhorn's iteration on scaling vectors, and in the log domain."""

import os

for backend in ("JAX", "PYTORCH", "TENSORFLOW", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import numpy as np
import ot


def solver(method):
    def prepare(problem, request):
        epsilon = problem.epsilon
        threshold = 0.0 if request["fixed"] else request["threshold"]

        def run():
            _, log = ot.sinkhorn(
                problem.source,
                problem.target,
                problem.cost,
                epsilon,
                method=method,
                numItermax=request["iterations"],
                stopThr=threshold,
                log=True,
                warn=False,
            )
            # u = a exp(f / epsilon), v = b exp(g / epsilon).
            if method == "sinkhorn_log":
                u, v = log["log_u"], log["log_v"]
            else:
                u, v = np.log(log["u"]), np.log(log["v"])
            a = problem.source if u.ndim == 1 else problem.source[:, None]
            f, g = epsilon * (u - np.log(a)), epsilon * (v - np.log(problem.target))
            return f, g, log["niter"] + 1

        return run

    return prepare


SOLVERS = {"sinkhorn": solver("sinkhorn"), "sinkhorn_log": solver("sinkhorn_log")}
