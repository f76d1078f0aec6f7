"""GeomLoss: annealed symmetric Sinkhorn between point clouds, its default schedule at scaling 0.9, in f32.

The schedule says how many iterations there are; thresholds and limits are not its own.
"""

import math

import torch
from geomloss import SamplesLoss
from geomloss._legacy.sinkhorn_divergence import epsilon_schedule, max_diameter


def solver(backend):
    def prepare(problem, request):
        blur = math.sqrt(problem.epsilon)
        loss = SamplesLoss("sinkhorn", p=2, blur=blur, scaling=0.9, debias=False, potentials=True, backend=backend)
        a, x, b, y = (
            torch.from_numpy(array).float() for array in (problem.source, problem.x, problem.target, problem.y)
        )
        # KeOps compiles a formula when it meets it.
        with torch.no_grad():
            loss(a[:64] / a[:64].sum(), x[:64], b[:64] / b[:64].sum(), y[:64])

        def run():
            with torch.no_grad():
                f, g = loss(a, x, b, y)
            return f.numpy(), g.numpy(), len(epsilon_schedule(2, max_diameter(x, y), blur, 0.9))

        return run

    return prepare


SOLVERS = {"online": solver("online"), "multiscale": solver("multiscale")}
