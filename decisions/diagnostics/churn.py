"""How much one policy's choices differ from another's on the same rows."""

from decisions.policy import FloatArray, total_variation
from decisions.shapes import check_table

__all__ = ["greedy_churn", "total_variation"]


def greedy_churn(first: FloatArray, second: FloatArray) -> float:
    """Share of rows (n, k) whose most probable action differs; 0 if no rows."""
    check_table(first=first, second=second)
    if not len(first):
        return 0.0
    return float((first.argmax(axis=1) != second.argmax(axis=1)).mean())
