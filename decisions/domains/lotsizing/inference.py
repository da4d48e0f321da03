"""A network's decisions as a compiled kernel over rows: nothing of a row depends on the others."""

import numpy as np

from decisions.domains.lotsizing.stepping import compiled
from decisions.domains.lotsizing.tables import Setups
from decisions.policy import BoolArray, FloatArray, IntArray


@compiled
def decide(
    seen: FloatArray,  # (n, in)
    widths: IntArray,
    weights: FloatArray,
    biases: FloatArray,
    keep: FloatArray,
    relu: bool,
    mask: BoolArray,  # (M, I + 1)
    set_up: Setups,
    action: Setups,
) -> None:
    """Fills `action` (n, M) with the likeliest choice that each machine has, the first of equals.

    The other arguments are the fields of `network.NetworkRule`.
    """
    machines, choices = mask.shape
    widest = widths.max()
    inner, outer = np.empty(widest), np.empty(widest)
    for row in range(len(seen)):
        for i in range(widths[0]):
            inner[i] = seen[row, i]
        weight, bias = 0, 0
        for layer in range(len(widths) - 1):
            width_in, width_out = widths[layer], widths[layer + 1]
            for j in range(width_out):
                outer[j] = biases[bias + j]
            for i in range(width_in):
                x = inner[i]
                if x != 0.0:  # most inputs are the zeros of one-hot codes
                    start = weight + i * width_out
                    for j in range(width_out):
                        outer[j] += x * weights[start + j]
            last = layer == len(widths) - 2
            for j in range(width_out):
                if last:
                    inner[j] = outer[j]
                elif relu:
                    inner[j] = max(outer[j], 0.0)
                else:
                    inner[j] = np.tanh(outer[j])
            weight += width_in * width_out
            bias += width_out
        for machine in range(machines):
            head = machine * choices
            best, most = 0, -np.inf
            for choice in range(choices):
                if mask[machine, choice]:
                    logit = inner[head + choice]
                    if choice == set_up[row, machine]:
                        logit += keep[head + choice]
                    if logit > most:
                        best, most = choice, logit
            action[row, machine] = best
