"""POT differentiated through its iterations by automatic differentiation: PyTorch's where it is installed, else JAX's.

POT's log-domain barycenters assign to slices, which both refuse: its scaling domain stands for them.
"""

import os

for backend in ("TENSORFLOW", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import numpy as np

try:
    import torch
except ImportError:
    torch = None
    import jax

    jax.config.update("jax_enable_x64", True)

import ot


def differentiated(value, *arrays):
    """The gradient of a function in the first of some arrays, as a function without arguments."""
    if torch is None:
        slope = jax.grad(value)
        return lambda: np.asarray(slope(*map(jax.numpy.asarray, arrays)))

    def slope():
        first, *others = map(torch.from_numpy, arrays)
        first = first.clone().requires_grad_()
        value(first, *others).backward()
        return first.grad.numpy()

    return slope


def unrolled_gradient(problem, request):
    iterations = request["iterations"]

    def value(cost, a, b):
        plan = ot.sinkhorn(a, b, cost, problem.epsilon, numItermax=iterations, stopThr=-1.0, warn=False)
        return (plan * cost).sum()

    slope = differentiated(value, problem.cost, problem.source, problem.target)

    def run():
        return {"gradient": slope().reshape(-1)}, iterations

    return run


def barycenter_gradient(problem, request):
    # Square images on [0, 1] x [0, 1], pixels of width one on our side; half squares at epsilon are squares at twice epsilon. The
    # gradient of |p - q|^2 in the weights lambda of the images.
    side, count, iterations = round(len(problem.source) ** 0.5), request["columns"], request["iterations"]
    images = np.ascontiguousarray(problem.target.T).reshape(count, side, side)
    weights, goal = problem.read("lambda", (count,)), problem.read("goal", (side * side,)).reshape(side, side)

    def value(weights, images, goal):
        barycenter = ot.bregman.convolutional_barycenter2d(
            images,
            2.0 * problem.epsilon / (side - 1) ** 2,
            weights=weights,
            method="sinkhorn",
            numItermax=iterations,
            stopThr=-1.0,
            warn=False,
        )
        return ((barycenter - goal) ** 2).sum()

    slope = differentiated(value, weights, images, goal)

    def run():
        return {"gradient": slope()}, iterations

    return run


SOLVERS = {"barycenter_gradient": barycenter_gradient, "unrolled_gradient": unrolled_gradient}
