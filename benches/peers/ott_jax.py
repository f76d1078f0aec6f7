"""OTT-JAX: Sinkhorn's iteration in the log domain, and from a sampled source; compiled before the clock runs."""

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import optax
from ott.geometry.geometry import Geometry
from ott.geometry.grid import Grid
from ott.geometry.pointcloud import PointCloud
from ott.geometry.semidiscrete_pointcloud import SemidiscretePointCloud
from ott.problems.linear.linear_problem import LinearProblem
from ott.problems.linear.semidiscrete_linear_problem import SemidiscreteLinearProblem
from ott.solvers.linear.implicit_differentiation import ImplicitDiff
from ott.solvers.linear.semidiscrete import SemidiscreteSolver
from ott.solvers.linear.sinkhorn import Sinkhorn
from ott.tools.sinkhorn_divergence import sinkhorn_divergence


def solver(cost, problem, request, **options):
    epsilon, iterations = problem.epsilon, request["iterations"]
    tau = 1.0 if problem.rho is None else problem.rho / (problem.rho + epsilon)
    iteration = Sinkhorn(
        threshold=request["threshold"],
        min_iterations=iterations if request["fixed"] else 0,
        max_iterations=iterations,
        **options,
    )

    def solve(cost, a, b):
        geometry = Geometry(cost_matrix=cost, epsilon=epsilon)
        output = iteration(LinearProblem(geometry, a=a, b=b, tau_a=tau, tau_b=tau))
        return output.f, output.g, output.n_iters

    arrays = (cost, problem.source, problem.target)
    compiled = jax.jit(solve).lower(*arrays).compile()

    def run():
        f, g, done = compiled(*map(jnp.asarray, arrays))
        return np.asarray(f), np.asarray(g), done

    return run


def sinkhorn(problem, request):
    solve = solver(problem.cost, problem, request)
    # P = exp((f + g - C) / epsilon) there.
    log_a, log_b = np.log(problem.source), np.log(problem.target)

    def run():
        f, g, done = solve()
        return {"f": f - problem.epsilon * log_a, "g": g - problem.epsilon * log_b}, done

    return run


def sinkhorn_unbalanced(problem, request):
    # The iteration there has the counting measure for reference. That of a b^T is a term of the cost.
    reference = np.log(problem.source)[:, None] + np.log(problem.target)[None, :]
    solve = solver(problem.cost - problem.epsilon * reference, problem, request, recenter_potentials=True)

    def run():
        f, g, done = solve()
        return {"f": f, "g": g}, done

    return run


def semidiscrete(problem, request):
    # Half squares at epsilon are squares at twice epsilon and twice the potential. The source is the unit cube; f32, as ours.
    iterations = request["iterations"]
    solver = SemidiscreteSolver(
        num_iterations=iterations,
        batch_size=64,
        optimizer=optax.adam(optax.cosine_decay_schedule(2e-2, iterations)),
        error_eval_every=iterations,
        error_num_repeats=1,
        threshold=0.0,
    )

    def uniform(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype)

    def solve(y, b):
        cloud = SemidiscretePointCloud(uniform, y, epsilon=2.0 * problem.epsilon)
        return solver(jax.random.key(0), SemidiscreteLinearProblem(cloud, b=b)).g

    arrays = [array.astype(np.float32) for array in (problem.y, problem.target)]
    compiled = jax.jit(solve).lower(*arrays).compile()

    def run():
        return {"g": 0.5 * np.asarray(compiled(*map(jnp.asarray, arrays)), dtype=np.float64)}, iterations

    return run


def gradient(problem, request, implicit_diff, statistic):
    """The gradient in the cost matrix of a statistic of the plan, after a solve."""
    iterations = request["iterations"]
    iteration = Sinkhorn(
        threshold=request["threshold"],
        min_iterations=iterations if request["fixed"] else 0,
        max_iterations=iterations,
        # Unrolled with checks in between, its gradient is not that of its value: three times as long, where the value is the same.
        inner_iterations=iterations if implicit_diff is None else 10,
        implicit_diff=implicit_diff,
    )

    def value(cost, a, b):
        output = iteration(LinearProblem(Geometry(cost_matrix=cost, epsilon=problem.epsilon), a=a, b=b))
        plan = jnp.exp((output.f[:, None] + output.g[None, :] - cost) / problem.epsilon)
        return statistic(plan, cost), output.n_iters

    arrays = (problem.cost, problem.source, problem.target)
    compiled = jax.jit(jax.grad(value, has_aux=True)).lower(*arrays).compile()

    def run():
        slopes, done = compiled(*map(jnp.asarray, arrays))
        # Files are column after column.
        return {"gradient": np.asarray(slopes).reshape(-1)}, done

    return run


def grid(problem, request):
    # A square image; half squares at epsilon are squares at twice epsilon.
    side, iterations = round(len(problem.source) ** 0.5), request["iterations"]
    iteration = Sinkhorn(threshold=0.0, min_iterations=iterations, max_iterations=iterations, inner_iterations=iterations)

    def solve(a, b):
        axis = jnp.arange(side, dtype=jnp.float64)[:, None]
        geometry = Grid(x=[axis, axis], epsilon=2.0 * problem.epsilon)
        output = iteration(LinearProblem(geometry, a=a, b=b))
        return output.f, output.n_iters

    arrays = (problem.source, problem.target)
    compiled = jax.jit(solve).lower(*arrays).compile()

    def run():
        f, done = compiled(*map(jnp.asarray, arrays))
        return {"value": np.asarray(f)[:1]}, done

    return run


def many_entropic(problem, request):
    """All pairs of the columns of the target, i <= j: on scaling vectors, so many at once under `vmap`."""
    weights, cost = np.ascontiguousarray(problem.target.T), jnp.asarray(problem.cost)
    first, second = np.triu_indices(len(weights))
    iteration = Sinkhorn(threshold=1e-6, max_iterations=10_000, lse_mode=False)

    def value(pair):
        geometry = Geometry(cost_matrix=cost, epsilon=problem.epsilon)
        return iteration(LinearProblem(geometry, a=pair[0], b=pair[1])).primal_cost

    def solve(a, b):
        return jax.lax.map(value, (a, b), batch_size=64)

    arrays = (weights[first], weights[second])
    compiled = jax.jit(solve).lower(*arrays).compile()

    def run():
        return {"value": np.asarray(compiled(*map(jnp.asarray, arrays)))}, 0

    return run


def implicit_gradient(problem, request):
    n, m = problem.cost.shape
    w, v = jnp.cos(jnp.arange(n)), jnp.sin(jnp.arange(m))
    return gradient(problem, request, ImplicitDiff(), lambda plan, cost: w @ plan @ v)


def unrolled_gradient(problem, request):
    return gradient(problem, request, None, lambda plan, cost: jnp.sum(plan * cost))


def divergence_gradient(problem, request):
    """The gradient of the divergence in the points of the source; half squares at epsilon are squares at twice epsilon."""
    iterations = request["iterations"]
    options = {
        "threshold": request["threshold"],
        "min_iterations": iterations if request["fixed"] else 0,
        "max_iterations": iterations,
    }

    def value(x, y, a, b):
        epsilon = 2.0 * problem.epsilon
        divergence, output = sinkhorn_divergence(PointCloud, x, y, a=a, b=b, epsilon=epsilon, solve_kwargs=options)
        return 0.5 * divergence, output.n_iters[0]

    arrays = (problem.x, problem.y, problem.source, problem.target)
    compiled = jax.jit(jax.grad(value, has_aux=True)).lower(*arrays).compile()

    def run():
        slopes, done = compiled(*map(jnp.asarray, arrays))
        return {"gradient": np.asarray(slopes).reshape(-1)}, done

    return run


SOLVERS = {
    "many_entropic": many_entropic,
    "divergence_gradient": divergence_gradient,
    "implicit_gradient": implicit_gradient,
    "unrolled_gradient": unrolled_gradient,
    "grid": grid,
    "semidiscrete": semidiscrete,
    "sinkhorn": sinkhorn,
    "sinkhorn_unbalanced": sinkhorn_unbalanced,
}
