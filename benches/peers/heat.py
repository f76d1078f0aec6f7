"""Heat kernels as scripts make them: one sparse factor of SciPy's (SuperLU), kept, and one right-hand side at a time.

The Laplacian comes as edges (tails, heads, weights) with the masses of the vertices, the diffusion as its time and its
steps. Vectors are scaled as they are, without logarithms.
"""

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu


class Kernel:
    """K = [(M + (t / k) L)^-1 M]^k M^-1 on the first vertices, which carry measure."""

    def __init__(self, problem):
        read = lambda name: np.fromfile(problem.folder / f"{name}.f64", dtype="<f8")
        tails, heads = read("tails").astype(int), read("heads").astype(int)
        weights, self.masses = read("weights"), read("masses")
        time, steps = read("diffusion")
        self.steps, self.carriers, n = int(steps), len(problem.source), len(self.masses)
        entries = np.concatenate([weights, weights, -weights, -weights])
        rows = np.concatenate([tails, heads, tails, heads])
        columns = np.concatenate([tails, heads, heads, tails])
        laplacian = sparse.csc_matrix((entries, (rows, columns)), shape=(n, n))
        matrix = sparse.diags(self.masses) + time / self.steps * laplacian
        self.factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})

    def __call__(self, vector):
        state = np.zeros(len(self.masses))
        state[: self.carriers] = vector
        for step in range(self.steps):
            state = self.factor.solve(state if step == 0 else self.masses * state)
        return state[: self.carriers]


def columns(problem):
    return problem.target.reshape(len(problem.source), -1).T


def apply(problem, request):
    kernel = Kernel(problem)

    def run():
        results = [kernel(column) for column in columns(problem)]
        return {"value": np.array([sum(result.sum() for result in results)])}, 0

    return run


def sinkhorn(problem, request):
    kernel, (b,) = Kernel(problem), columns(problem)

    def run():
        v = np.ones_like(b)
        for _ in range(request["iterations"]):
            u = problem.source / kernel(v)
            v = b / kernel(u)
        return {"value": np.array([u.sum()])}, request["iterations"]

    return run


def barycenter(problem, request):
    kernel, measures = Kernel(problem), columns(problem)

    def run():
        v = [np.ones_like(measure) for measure in measures]
        for _ in range(request["iterations"]):
            u = [measure / kernel(scaling) for measure, scaling in zip(measures, v)]
            marginals = [kernel(scaling) for scaling in u]
            mean = np.exp(sum(np.log(marginal) for marginal in marginals) / len(measures))
            v = [mean / marginal for marginal in marginals]
        return {"value": np.array([mean.sum()])}, request["iterations"]

    return run


SOLVERS = {"apply": apply, "sinkhorn": sinkhorn, "barycenter": barycenter}
