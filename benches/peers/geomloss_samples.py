"""GeomLoss in f32: annealed symmetric Sinkhorn between point clouds, its default schedule at scaling 0.9, and its kernels.

The schedule says how many iterations there are; thresholds and limits are not its own.
"""

import math

import torch
from geomloss import SamplesLoss
from geomloss._legacy import sinkhorn_samples
from geomloss._legacy.sinkhorn_divergence import epsilon_schedule, max_diameter

#: From one scale of the schedule to the next.
SCALING = 0.9


def tensors(problem, last=None):
    """The measures, or the first points of each."""
    a, x, b, y = (torch.from_numpy(array).float() for array in (problem.source, problem.x, problem.target, problem.y))
    return (a, x, b, y) if last is None else (a[:last] / a[:last].sum(), x[:last], b[:last] / b[:last].sum(), y[:last])


def compiled(solve, problem):
    """KeOps compiles a formula when it meets it: before the clock runs."""
    with torch.no_grad():
        solve(*tensors(problem, 64))

    def run():
        with torch.no_grad():
            return solve(*tensors(problem))

    return run


def iterations(problem):
    _, x, _, y = tensors(problem)
    return len(epsilon_schedule(2, max_diameter(x, y), math.sqrt(problem.epsilon), SCALING))


def transport(backend):
    def prepare(problem, request):
        blur = math.sqrt(problem.epsilon)
        solve = compiled(
            SamplesLoss("sinkhorn", p=2, blur=blur, scaling=SCALING, debias=False, potentials=True, backend=backend),
            problem,
        )

        def run():
            f, g = solve()
            return {"f": f.numpy(), "g": g.numpy()}, iterations(problem)

        return run

    return prepare


def point_gradient(problem, request):
    """The gradient of the entropic value in the points of the source."""
    loss = SamplesLoss(
        "sinkhorn", p=2, blur=math.sqrt(problem.epsilon), scaling=SCALING, debias=False, backend="online"
    )

    def solve(a, x, b, y):
        x = x.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(loss(a, x, b, y), [x])
        return slopes

    solve(*tensors(problem, 64))

    def run():
        return {"gradient": solve(*tensors(problem)).numpy().reshape(-1)}, iterations(problem)

    return run


def four_potentials(eps, rho, a, b, f_aa, g_bb, g_ab, f_ba, **options):
    """In place of the value, or of the differences, that a divergence is made into."""
    return torch.stack((f_ba, f_aa), -1), torch.stack((g_ab, g_bb), -1)


def debiased(routine, batched):
    def prepare(problem, request):
        options = {"p": 2, "blur": math.sqrt(problem.epsilon), "scaling": SCALING, "debias": True, "potentials": True}

        def solve(*measures):
            if batched:
                measures = [tensor.unsqueeze(0) for tensor in measures]
            original, sinkhorn_samples.sinkhorn_cost = sinkhorn_samples.sinkhorn_cost, four_potentials
            try:
                return [potentials.reshape(-1, 2) for potentials in routine(*measures, **options)]
            finally:
                sinkhorn_samples.sinkhorn_cost = original

        run_compiled = compiled(solve, problem)

        def run():
            source, target = (potentials.numpy() for potentials in run_compiled())
            outputs = {"f": source[:, 0], "f_self": source[:, 1], "g": target[:, 0], "g_self": target[:, 1]}
            return outputs, iterations(problem)

        return run

    return prepare


def kernel(name):
    def prepare(problem, request):
        solve = compiled(SamplesLoss(name, blur=math.sqrt(problem.epsilon), backend="online"), problem)

        def run():
            # Half of the squared norm there.
            return {"value": [2.0 * solve().item()]}, 0

        return run

    return prepare


SOLVERS = {
    "point_gradient": point_gradient,
    "online": transport("online"),
    "multiscale": transport("multiscale"),
    "debiased_online": debiased(sinkhorn_samples.sinkhorn_online, batched=True),
    "debiased_multiscale": debiased(sinkhorn_samples.sinkhorn_multiscale, batched=False),
    "energy": kernel("energy"),
    "gaussian": kernel("gaussian"),
}
