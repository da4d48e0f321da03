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
    if not np.isfinite(value):
        return "any size"
    return f"{100 * value:.2f} pp" if unit == "%" else f"{value:.3g} {unit}".strip()


def explain(
    verdict: str, found: Statistics, *, name: str, unit: str, material: float
) -> tuple[str, str]:
    """What a verdict means, and what to do about it: (explanation, recommended action).

    `material` is the smallest swing that matters, in the unit of the reward. Every verdict that
    rests on a test ends with the smallest swing that would have been seen.
    """
    words, action = _explained(verdict, found, name=name, unit=unit, material=material)
    return f"{words}{_visible(found, unit)}", action


def _visible(found: Statistics, unit: str) -> str:
    if np.isnan(found.visible_swing):
        return ""
    if np.isinf(found.visible_swing):
        return " Over so few generations no swing, however large, would surely be seen."
    return (
        f" The smallest swing that would be seen, four times of five, is"
        f" {amount(found.visible_swing, unit)}."
    )


def _explained(
    verdict: str, found: Statistics, *, name: str, unit: str, material: float
) -> tuple[str, str]:
    if verdict == "oscillating":
        return _oscillating(found, name=name, unit=unit)
    if verdict == "suspect":
        return _suspect(found, name=name, unit=unit, material=material)
    if verdict == "stable":
        return _stable(found, name=name, unit=unit)
    if verdict == "cannot tell":
        return _cannot_tell(found, name=name, unit=unit, material=material)
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


def _suspect(found: Statistics, *, name: str, unit: str, material: float) -> tuple[str, str]:
    small = found.sure_swing < material
    why = (
        f"no swing of {amount(material, unit)} or more, which would matter, is sure"
        if small
        else "chance alone does this in up to one of twenty steady series"
    )
    return (
        f"The value of {name} may alternate from generation to generation, but {why}."
        f" {_movement(found, unit)}",
        "Watch the next cycles before changing anything."
        + (_MEASURE_BETTER if small and found.rms_se > 0 and not found.parts else ""),
    )


_MEASURE_BETTER = (
    " Measure more precisely: half the standard error takes four times the decisions, by a larger"
    " control slice or longer cycles."
)


def _cannot_tell(found: Statistics, *, name: str, unit: str, material: float) -> tuple[str, str]:
    return (
        f"It cannot be told whether {name} oscillates: no alternation is seen, but a swing of"
        f" {amount(material, unit)}, which would matter, could pass unseen among"
        f" {_generations(found.generations)}. {_movement(found, unit)}",
        "Wait for more training cycles: what can be seen gets smaller with each."
        + (_MEASURE_BETTER if found.rms_se > 0 and not found.parts else ""),
    )


def _stable(found: Statistics, *, name: str, unit: str) -> tuple[str, str]:
    if not np.isfinite(found.p):
        return (
            f"The value of {name} does not alternate: it moves along a straight line.",
            "Nothing to do about oscillation.",
        )
    drifting = found.r1 > found.r1_null_high
    moves = (
        " It moves slowly instead: neighbouring generations are alike, as under drift."
        if drifting
        else " Its changes look like chance."
    )
    return (
        f"No alternation of {name} from generation to generation is seen, and one that matters"
        f" would have been.{moves} {_movement(found, unit)}",
        "Look at drift: compare the control's series, and whether the training window is as"
        " short as the change is fast."
        if drifting
        else "Nothing to do.",
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
