"""The flags an acquirer can set on a payment attempt; every combination of them is one action."""

from itertools import product

import numpy as np
import polars as pl

from decisions.actions import ActionSet
from decisions.policy import BoolArray, FloatArray

ELIGIBILITY_VERSION = "2026-1"  # raised whenever a rule in `eligible` changes

FLAGS = ("sca", "token", "format_1", "format_2", "update")  # columns of FLAG_MATRIX
_NAMES = (  # by flag and digit
    ("", "authenticate"),
    ("", "network_token"),
    ("", "format_1", "format_2"),
    ("", "account_update"),
)
_MEANINGS = (
    ("", "ask the payer for strong customer authentication"),
    ("", "send the scheme's token in place of the card number"),
    (
        "",
        "fill the ISO message's name and address in the first other way",
        "fill the ISO message's name and address in the second other way",
    ),
    ("", "ask the scheme for the card's newer number or expiry"),
)
# Digits of each action, the first flag running fastest, so that action 0 does nothing.
_DIGITS = np.array(
    [digits[::-1] for digits in product(range(2), range(3), range(2), range(2))], dtype=np.int64
)
SCA, TOKEN, FORMAT, UPDATE = _DIGITS.T
COUNT = len(_DIGITS)
DO_NOTHING = 0

FLAG_MATRIX: FloatArray = np.column_stack(
    [SCA == 1, TOKEN == 1, FORMAT == 1, FORMAT == 2, UPDATE == 1]
).astype(np.float64)
"""What an oracle sees of an action: separate dummies, shape (24, 5), columns FLAGS."""


def _words(parts: tuple[tuple[str, ...], ...], digits: list[int]) -> list[str]:
    return [words[digit] for words, digit in zip(parts, digits, strict=True) if digit]


ACTIONS = ActionSet(
    names=tuple("+".join(_words(_NAMES, row)) or "nothing" for row in _DIGITS.tolist()),
    meanings=tuple(
        "; ".join(_words(_MEANINGS, row)) or "send the payment as it came"
        for row in _DIGITS.tolist()
    ),
)


def eligible(context: pl.DataFrame) -> BoolArray:
    """Which of the 24 actions each row of `context` may get, shape (n, 24).

    Strong authentication needs an issuer that supports it and a payer who is present; a network
    token needs the merchant's set-up; another message format needs the issuer's; an account
    update needs a recurring payment or a card that expires within 200 days. Doing nothing is
    always eligible. The rules carry ELIGIBILITY_VERSION; what they allowed is in each decision.
    """
    recurring = context["recurring"].to_numpy()
    sca = context["sca_supported"].to_numpy() & ~recurring
    token = context["token_enabled"].to_numpy()
    form = context["format_supported"].to_numpy()
    update = recurring | (context["days_to_expiry"].to_numpy() < 200)
    allowed = (
        (SCA == 0, sca),
        (TOKEN == 0, token),
        (FORMAT == 0, form),
        (UPDATE == 0, update),
    )
    mask = np.ones((context.height, COUNT), dtype=np.bool_)
    for without, possible in allowed:
        mask &= without[None, :] | possible[:, None]
    return mask
