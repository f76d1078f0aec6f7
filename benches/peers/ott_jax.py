"""OTT-JAX: Sinkhorn's iteration in the log domain, compiled before the clock runs."""

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
from ott.geometry.geometry import Geometry
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.sinkhorn import Sinkhorn


def sinkhorn(problem, request):
    epsilon, iterations = problem.epsilon, request["iterations"]
    solver = Sinkhorn(
        threshold=request["threshold"],
        min_iterations=iterations if request["fixed"] else 0,
        max_iterations=iterations,
    )

    def solve(cost, a, b):
        output = solver(LinearProblem(Geometry(cost_matrix=cost, epsilon=epsilon), a=a, b=b))
        # P = exp((f + g - C) / epsilon) there.
        return output.f - epsilon * jnp.log(a), output.g - epsilon * jnp.log(b), output.n_iters

    arrays = (problem.cost, problem.source, problem.target)
    compiled = jax.jit(solve).lower(*arrays).compile()

    def run():
        f, g, done = compiled(*map(jnp.asarray, arrays))
        return np.asarray(f), np.asarray(g), done

    return run


SOLVERS = {"sinkhorn": sinkhorn}
