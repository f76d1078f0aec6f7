"""POT: Sinkhorn's iteration on scaling vectors and in the log domain, between penalised marginals, from a sampled source; barycenters."""

import os

for backend in ("JAX", "PYTORCH", "TENSORFLOW", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import numpy as np
import ot


def costs(problem):
    """The matrix, made from the points where these are given."""
    return problem.cost if hasattr(problem, "cost") else 0.5 * ot.dist(problem.x, problem.y)


def solver(method):
    def prepare(problem, request):
        epsilon = problem.epsilon
        threshold = 0.0 if request["fixed"] else request["threshold"]

        def run():
            _, log = ot.sinkhorn(
                problem.source,
                problem.target,
                costs(problem),
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
            return {"f": f, "g": g}, log["niter"] + 1

        return run

    return prepare


def unbalanced(method):
    def prepare(problem, request):
        epsilon = problem.epsilon

        def run():
            _, log = ot.unbalanced.sinkhorn_unbalanced(
                problem.source,
                problem.target,
                problem.cost,
                epsilon,
                problem.rho,
                method=method,
                reg_type="kl",
                numItermax=request["iterations"],
                stopThr=0.0 if request["fixed"] else request["threshold"],
                log=True,
            )
            # With this reference measure, a b^T, P = a b^T u v exp(-C / epsilon).
            return {"f": epsilon * log["logu"], "g": epsilon * log["logv"]}, len(log["err"])

        return run

    return prepare


def semidiscrete(problem, request):
    # Half squares at epsilon are squares at twice epsilon and twice the potential. The source is the unit cube.
    def run():
        potential = ot.semidiscrete.solve_semidiscrete(
            problem.y,
            sampler_source="unif",
            a_target=problem.target,
            reg=2.0 * problem.epsilon,
            max_iter=request["iterations"],
        )
        return {"g": 0.5 * potential}, request["iterations"]

    return run


def smooth_dual(problem, request):
    gamma = problem.epsilon * len(problem.source) * len(problem.target)

    def run():
        _, log = ot.smooth.smooth_ot_dual(
            problem.source, problem.target, problem.cost, gamma, reg_type="l2", log=True
        )
        return {"f": log["alpha"], "g": log["beta"]}, log["res"].nit

    return run


def barycenter(method):
    # The columns of the target are the inputs, lambda.f64 their weights.
    def prepare(problem, request):
        weights = problem.read("lambda", (request["columns"],))

        def run():
            p, log = ot.bregman.barycenter(
                problem.target,
                problem.cost,
                problem.epsilon,
                weights=weights,
                method=method,
                numItermax=request["iterations"],
                stopThr=0.0 if request["fixed"] else request["threshold"],
                log=True,
                warn=False,
            )
            return {"p": p}, log.get("niter", len(log["err"]))

        return run

    return prepare


def free_support_barycenter(problem, request):
    # Inputs of one size: points.f64 (inputs x m x d), the columns of the target their weights. The source has the first points.
    count, m, d = request["columns"], request["m"], request["d"]
    points, weights = problem.read("points", (count, m, d)), problem.read("lambda", (count,))
    locations = [np.ascontiguousarray(points[k]) for k in range(count)]
    masses = [np.ascontiguousarray(problem.target[:, k]) for k in range(count)]
    start = problem.read("start", (request["n"], d))

    def run():
        x, log = ot.lp.free_support_barycenter(
            locations,
            masses,
            start,
            b=problem.source,
            weights=weights,
            numItermax=request["iterations"],
            stopThr=0.0 if request["fixed"] else request["threshold"],
            log=True,
        )
        return {"x": x.T}, len(log["displacement_square_norms"])

    return run


def convolutional_log(problem, request):
    # A square image on [0, 1] x [0, 1]; half squares at epsilon are squares at twice epsilon. The barycenter of one image:
    # each iteration convolves twice, as one of transport does.
    side = round(len(problem.source) ** 0.5)
    image, iterations = problem.source.reshape(1, side, side), request["iterations"]

    def run():
        barycenter = ot.bregman.convolutional_barycenter2d(
            image,
            2.0 * problem.epsilon / (side - 1) ** 2,
            method="sinkhorn_log",
            numItermax=iterations,
            stopThr=-1.0,
            warn=False,
        )
        return {"value": barycenter.ravel()[:1]}, iterations

    return run


def images(barycenter, **settings):
    # The columns of the target are square images on [0, 1] x [0, 1]; half squares at epsilon are squares at twice epsilon.
    def prepare(problem, request):
        weights = problem.read("lambda", (request["columns"],))
        side = round(len(problem.source) ** 0.5)
        inputs = np.ascontiguousarray(problem.target.T).reshape(-1, side, side)

        def run():
            p, log = barycenter(
                inputs,
                2.0 * problem.epsilon / (side - 1) ** 2,
                weights=weights,
                numItermax=request["iterations"],
                stopThr=0.0 if request["fixed"] else request["threshold"],
                log=True,
                warn=False,
                **settings,
            )
            return {"p": p.ravel()}, log.get("niter", request["iterations"])

        return run

    return prepare


SOLVERS = {
    "images": images(ot.bregman.convolutional_barycenter2d, method="sinkhorn"),
    "images_log": images(ot.bregman.convolutional_barycenter2d, method="sinkhorn_log"),
    "images_debiased": images(ot.bregman.convolutional_barycenter2d_debiased, method="sinkhorn"),
    "barycenter": barycenter("sinkhorn"),
    "barycenter_log": barycenter("sinkhorn_log"),
    "free_support_barycenter": free_support_barycenter,
    "convolutional_log": convolutional_log,
    "smooth_dual": smooth_dual,
    "sinkhorn": solver("sinkhorn"),
    "sinkhorn_log": solver("sinkhorn_log"),
    "sinkhorn_unbalanced": unbalanced("sinkhorn"),
    "semidiscrete": semidiscrete,
    "sinkhorn_translation_invariant": unbalanced("sinkhorn_translation_invariant"),
}
