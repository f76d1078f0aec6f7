"""What POT, OTT-JAX and GeomLoss call their numbers, on one small problem: written to conversions.json beside this file.

    target/peers/bin/python benches/peers/conversions.py

`cargo test -p benches` holds our numbers, converted, against these, and `cargo run -p benches --bin conversions` makes the
page of them: neither needs Python.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

for backend in ("JAX", "TENSORFLOW", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import ot
import torch
from geomloss import SamplesLoss
from ott.geometry.geometry import Geometry
from ott.geometry.pointcloud import PointCloud
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.sinkhorn import Sinkhorn
from ott.tools.sinkhorn_divergence import sinkhorn_divergence

# Six points against five in the plane, with weights that are not uniform, and another target of mass 1.5.
x = np.array([[0.1, 0.2], [0.9, 0.4], [0.3, 1.1], [0.7, 0.8], [1.2, 0.1], [0.5, 0.6]])
y = np.array([[0.4, 1.5], [1.3, 0.9], [0.8, 1.7], [1.6, 1.2], [1.0, 0.5]])
a = np.array([0.10, 0.25, 0.15, 0.20, 0.05, 0.25])
b = np.array([0.30, 0.10, 0.20, 0.15, 0.25])
heavy = 1.5 * b
squared = ((x[:, None] - y[None, :]) ** 2).sum(-1)

EPSILON, RHO, BLUR, REACH, MOVED = 0.2, 0.7, 0.4, 0.9, 0.6
EXACT = {"stopThr": 1e-15, "numItermax": 100_000}


def pot():
    _, log = ot.sinkhorn(a, b, squared, EPSILON, log=True, **EXACT)
    kl = ot.solve(squared, a, b, EPSILON, tol=1e-15, max_iter=100_000)
    entropy = ot.solve(squared, a, b, EPSILON, reg_type="entropy", tol=1e-15, max_iter=100_000)

    def unbalanced(**options):
        return float(ot.unbalanced.sinkhorn_unbalanced2(a, heavy, squared, EPSILON, RHO, **options, **EXACT))

    majorize = {"numItermax": 1_000_000, "stopThr": 1e-16}
    return {
        "sinkhorn2": float(ot.sinkhorn2(a, b, squared, EPSILON, **EXACT)),
        "solve.value": float(kl.value),
        "solve.value_linear": float(kl.value_linear),
        "solve.value entropy": float(entropy.value),
        "sinkhorn.log_u": float(EPSILON * np.log(log["u"][0] / log["u"][1])),
        "sinkhorn_unbalanced2 linear": unbalanced(),
        "sinkhorn_unbalanced2 total": unbalanced(returnCost="total"),
        "sinkhorn_unbalanced2 entropy": unbalanced(reg_type="entropy"),
        "mm_unbalanced2 kl": float(ot.unbalanced.mm_unbalanced2(a, heavy, squared, RHO, div="kl", returnCost="total", **majorize)),
        "mm_unbalanced2 l2": float(ot.unbalanced.mm_unbalanced2(a, heavy, squared, 2.0, div="l2", returnCost="total", **majorize)),
        "emd2": float(ot.emd2(a, b, squared)),
        "partial_wasserstein2": float(ot.partial.partial_wasserstein2(a, b, squared, m=MOVED)),
        "empirical_sinkhorn_divergence": float(
            ot.bregman.empirical_sinkhorn_divergence(x, y, EPSILON, a=a, b=b, numIterMax=100_000, stopThr=1e-15)
        ),
    }


def ott():
    solver = Sinkhorn(threshold=1e-14, max_iterations=100_000)

    def solve(geometry, tau=1.0, target=b):
        return solver(LinearProblem(geometry, a=jnp.asarray(a), b=jnp.asarray(target), tau_a=tau, tau_b=tau))

    output = solve(Geometry(jnp.asarray(squared), epsilon=EPSILON))
    scaled = solve(Geometry(jnp.asarray(squared), epsilon=EPSILON, scale_cost="max_cost"))
    relaxed = solve(Geometry(jnp.asarray(squared), epsilon=EPSILON), RHO / (RHO + EPSILON), heavy)
    clouds = {"x": jnp.asarray(x), "y": jnp.asarray(y), "epsilon": EPSILON}
    solve_kwargs = {"threshold": 1e-14, "max_iterations": 100_000}
    value, _ = sinkhorn_divergence(PointCloud, a=jnp.asarray(a), b=jnp.asarray(b), solve_kwargs=solve_kwargs, **clouds)
    return {
        "reg_ot_cost": float(output.reg_ot_cost),
        "ent_reg_cost": float(output.ent_reg_cost),
        "primal_cost": float(output.primal_cost),
        "dual_cost": float(output.dual_cost),
        "f": float(output.f[0] - output.f[1]),
        "scale_cost": float(scaled.reg_ot_cost),
        "epsilon default": float(Geometry(jnp.asarray(squared)).epsilon),
        "epsilon mean": float(Geometry(jnp.asarray(squared), epsilon=0.1, relative_epsilon="mean").epsilon),
        "tau mass": float(relaxed.matrix.sum()),
        "tau primal_cost": float(relaxed.primal_cost),
        "sinkhorn_divergence": float(value),
    }


def geomloss():
    source, target, heavier = ((torch.from_numpy(w), torch.from_numpy(p)) for w, p in ((a, x), (b, y), (heavy, y)))

    # The schedule descends so slowly that potentials follow it.
    def sinkhorn(target=target, **options):
        # Mass is slower to follow.
        scaling = 0.99999 if "reach" in options else 0.9999
        settings = {"p": 2, "blur": BLUR, "scaling": scaling, "backend": "tensorized", "debias": False, **options}
        return SamplesLoss("sinkhorn", **settings)(*source, *target).item()

    def kernel(name):
        return SamplesLoss(name, blur=BLUR, backend="tensorized")(*source, *target).item()

    return {
        "sinkhorn p=2": sinkhorn(),
        "sinkhorn p=1": sinkhorn(p=1),
        "sinkhorn debias": sinkhorn(debias=True),
        "sinkhorn reach": sinkhorn(heavier, reach=REACH),
        "sinkhorn reach debias": sinkhorn(heavier, reach=REACH, debias=True),
        "energy": kernel("energy"),
        "gaussian": kernel("gaussian"),
    }


measured = {
    "versions": {name: version(name) for name in ("POT", "ott-jax", "geomloss", "jax", "torch", "numpy")},
    "problem": {
        "x": x.flatten().tolist(),
        "y": y.flatten().tolist(),
        "a": a.tolist(),
        "b": b.tolist(),
        "heavy": heavy.tolist(),
        "epsilon": EPSILON,
        "rho": RHO,
        "blur": BLUR,
        "reach": REACH,
        "moved": MOVED,
    },
    "values": {"POT": pot(), "OTT-JAX": ott(), "GeomLoss": geomloss()},
}
Path(__file__).with_suffix(".json").write_text(json.dumps(measured, indent=2) + "\n")
