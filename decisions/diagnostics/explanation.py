"""A diagnosis in the words of those who act on it at eight in the morning."""

import numpy as np

from decisions.diagnostics.evidence import Statistics

NOTABLE = 0.4  # a correlation worth a sentence
_CALLED = {
    "negatives_share": "the share of failures among its training rows",
    "entropy_normalised": "how widely it tries alternatives",
    "effective_actions": "how many alternatives it tries",
    "auc": "how well its model ranks outcomes",
    "bias_unchosen": "its optimism about untried actions",
    "realizability_gap": "its error on untried actions beyond that on chosen ones",
    "churn_total_variation": "how much it differs from its predecessor",
    "window_cycles": "how many cycles trained it",
    "window_uniform_share": "how much of its training data was logged by the baseline",
}


def amount(value: float, unit: str) -> str:
    """A difference of rewards in words: a share (unit "%") in percentage points, else as it is."""
    return f"{100 * value:.2f} pp" if unit == "%" else f"{value:.3g} {unit}".strip()


def explain(
    verdict: str, found: Statistics, *, name: str, unit: str, wanted: float
) -> tuple[str, str]:
    """What a verdict means, and what to do about it: (explanation, recommended action).

    `wanted` is the swing that a verdict of oscillation would have needed, in the unit of the
    reward.
    """
    if verdict == "oscillating":
        return _oscillating(found, name=name, unit=unit)
    if verdict == "suspect":
        return _suspect(found, name=name, unit=unit, wanted=wanted)
    if verdict == "stable":
        return _stable(found, name=name, unit=unit, wanted=wanted)
    if verdict == "degenerate":
        return (
            f"The value of {name} does not move at all over {found.generations} generations. Real"
            " measurements always move a little, so this is a constant and not a measurement, or"
            " no action makes a difference.",
            "Check that the series is the policy's own value minus the control's, and that more"
            " than one action is eligible.",
        )
    return (
        f"It cannot be told yet whether {name} oscillates:"
        f" {_generations(found.generations)} with a value are too few in a row.",
        "Wait for more training cycles; if generations are missing, see the reasons for which.",
    )


def _generations(count: int) -> str:
    return f"{count} generation{'' if count == 1 else 's'}"


def _oscillating(found: Statistics, *, name: str, unit: str) -> tuple[str, str]:
    sentences = [
        f"The value of {name} alternates: after a good generation comes a worse one.",
        _movement(found, unit),
        *_goes_with(found),
        _cause(found),
    ]
    return (
        " ".join(each for each in sentences if each),
        "Keep more cycles in the training window, or switch to `stabilised`. Until then, judge a"
        " new generation by its own evaluation and not by the last one's success; if the present"
        " one is a bad one, roll back with `decisions promote`.",
    )


def _suspect(found: Statistics, *, name: str, unit: str, wanted: float) -> tuple[str, str]:
    small = found.swing < wanted
    why = (
        f"the swing is too small to act on (it would have to reach {amount(wanted, unit)})"
        if small
        else "chance alone does this in up to one of twenty steady series"
    )
    return (
        f"The value of {name} may alternate from generation to generation, but {why}."
        f" {_movement(found, unit)}",
        "Watch the next cycles before changing anything."
        + (
            " Measure more precisely: a larger control slice or longer cycles."
            if small and found.rms_se > 0
            else ""
        ),
    )


def _stable(found: Statistics, *, name: str, unit: str, wanted: float) -> tuple[str, str]:
    if not np.isfinite(found.p_r1):
        return (
            f"The value of {name} does not alternate: it moves along a straight line.",
            "Nothing to do about oscillation.",
        )
    blind = found.swing < wanted and found.excess_variance < found.rms_se**2
    if blind:
        return (
            f"No oscillation of {name} is seen, but the measurement is coarse: its changes are"
            f" mostly its own standard error ({amount(found.rms_se, unit)}), and only a swing of"
            f" {amount(wanted, unit)} or more would be called oscillation.",
            "Nothing to do now. To see smaller swings, enlarge the control slice or lengthen the"
            " cycles: half the standard error takes four times the decisions.",
        )
    drifting = found.r1 > found.r1_null_high
    moves = (
        " It moves slowly instead: neighbouring generations are alike, as under drift."
        if drifting
        else " Its changes look like chance."
    )
    return (
        f"No alternation of {name} from generation to generation is seen.{moves}"
        f" {_movement(found, unit)}",
        "Look at drift: compare the control's series, and whether the training window is as"
        " short as the change is fast."
        if drifting
        else "Nothing to do now. So few generations can hide a moderate alternation: look again"
        " after more of them.",
    )


def _movement(found: Statistics, unit: str) -> str:
    turns = (
        f"{found.flip_rate:.0%} of its changes reverse the one before"
        if (np.isfinite(found.flip_rate))
        else ""
    )
    return (
        f"Over {_generations(found.generations)} it moves by {amount(found.swing, unit)} from one"
        f" to the next on average{', and ' + turns if turns else ''} (67% in pure noise)."
    )


def _goes_with(found: Statistics) -> list[str]:
    """Sentences on what moves with the value, strongest first, three at most."""
    notable = sorted(
        (
            (name, r)
            for name, r, count in found.mechanism
            if name in _CALLED and abs(r) >= max(NOTABLE, 2 / max(count, 1) ** 0.5)
        ),
        key=lambda each: -abs(each[1]),
    )
    if not notable:
        return []
    parts = [
        f"{_CALLED[name]} ({'rises' if r > 0 else 'falls'} with its value, correlation {r:+.2f})"
        for name, r in notable[:3]
    ]
    return [f"What moves with a generation's value: {'; '.join(parts)}."]


def _cause(found: Statistics) -> str:
    """The reading of the mechanism, where the panel bears it out."""
    seen = {name: r for name, r, _ in found.mechanism}
    if seen.get("negatives_share", np.nan) >= NOTABLE:
        return (
            "This is the pattern of narrow logs: a good generation fails seldom and tries few"
            " alternatives, the next one is trained on what it logged and misjudges the rest;"
            " that one does worse, tries more, and its successor recovers."
        )
    return ""
