"""Say of the recognisers from pairs of known people: logistic regression on their cosines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_NEWTON_STEPS, _LOGIT_LIMIT, _JITTER, _MIN_STEP, _CONVERGED = 100, 500.0, 1e-12, 1e-6, 1e-9
"""Of Newton's method: it converges in about ten steps; the rest guards against overflow and endless loops on separable data."""


def fit_log_odds(
    cosines: npt.ArrayLike,
    same: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    prior: float = 0.5,
    ridge: float = 1e-6,
) -> tuple[npt.NDArray[np.float64], float]:
    """Coefficients >= 0 and constant of log-odds that are linear in the members' cosines (logistic regression, Newton's method).

    Args:
        cosines: (p, m) cosine of each member for each pair.
        same: (p,) True = one person.
        weights: (p,) > 0, say of each pair within its class; None = equal.
        prior: share of same pairs at which errors are to be few, whatever it is in the data: where the log-odds are not quite
            linear, a small share makes the fit good for strangers who look alike.
        ridge: pull of the coefficients towards 0 in units of their own spread; keeps separable data finite.

    Returns:
        (m,) coefficients and the constant, as of an even prior. A member that would get a negative coefficient gets 0.

    Raises:
        ValueError: for other shapes, values that are not finite, pairs of one class only, or a prior outside 0 < prior < 1.
    """
    x, y = np.asarray(cosines, np.float64), np.asarray(same, np.bool_)
    if x.ndim != 2 or y.shape != (len(x),) or not np.isfinite(x).all():
        raise ValueError(f"fit: got cosines {x.shape} and {y.shape} truths, expected finite (p, m) and (p,)")
    if y.all() or not y.any():
        raise ValueError("fit: got pairs of one class only, expected same and different people")
    if not 0 < prior < 1:
        raise ValueError(f"fit: got prior {prior}, expected 0 < prior < 1")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    w = np.where(y, prior * w / w[y].sum(), (1 - prior) * w / w[~y].sum()) / min(prior, 1 - prior)
    centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-12
    active = list(range(x.shape[1]))
    while True:
        beta = _newton((x[:, active] - centre[active]) / spread[active], y, w, ridge)
        if (beta[1:] >= 0).all() or len(active) == 1:
            break
        active.pop(int(np.argmin(beta[1:])))
    coefficients = np.zeros(x.shape[1])
    coefficients[active] = np.maximum(beta[1:], 0) / spread[active]
    return coefficients, float(beta[0] - coefficients @ centre - np.log(prior / (1 - prior)))


def _newton(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.bool_], w: npt.NDArray[np.float64], ridge: float
) -> npt.NDArray[np.float64]:
    """Constant and coefficients of a weighted logistic regression with a small ridge; steps are halved until they help."""
    design = np.hstack([np.ones((len(x), 1)), x])
    penalty = np.diag([0.0, *[ridge] * x.shape[1]])
    sign = np.where(y, 1.0, -1.0)

    def loss(b: npt.NDArray[np.float64]) -> float:
        return float(w @ np.logaddexp(0, -sign * (design @ b)) + b @ penalty @ b / 2)

    beta = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -_LOGIT_LIMIT, _LOGIT_LIMIT)))
        gradient = design.T @ (w * (p - y)) + penalty @ beta
        hessian = (design * (w * p * (1 - p))[:, None]).T @ design + penalty + _JITTER * np.eye(len(beta))
        step, scale = np.linalg.solve(hessian, gradient), 1.0
        while loss(beta - scale * step) > loss(beta) and scale > _MIN_STEP:
            scale /= 2
        beta = beta - scale * step
        if np.abs(scale * step).max() < _CONVERGED:
            break
    return beta
