"""A diagnosis in the words of those who act on it at eight in the morning."""

from decisions.diagnostics.evidence import Statistics

NOTABLE = 0.4  # a correlation worth a sentence


def amount(value: float, unit: str) -> str:
    """`value` of reward in words: percentage points for the unit "pp", else as it is."""
    return f"{100 * value:.2f} pp" if unit == "pp" else f"{value:.3g} {unit}"


def explain(verdict: str, found: Statistics, *, name: str, unit: str = "pp") -> tuple[str, str]:
    """What a verdict means and what to do about it: (explanation, recommended action)."""
    return "", ""
