"""What a page shows, the domain first of all: in its address, so that it can be passed on."""

from datetime import date
from typing import TypeVar

import streamlit as st
from quoting import quoted

from decisions.domains import all_domains


def domain(names: list[str]) -> str:
    """The domain of the address (`?domain=...`); choosing another changes the address.

    `names` are those that there is something to show of, at least one.
    """
    titles = {each.name: each.title for each in all_domains()}
    return _choice("domain", "Domain", names, titles)


def series(names: list[str], titles: dict[str, str]) -> str:
    """The series of the address (`?series=...`); choosing another changes the address."""
    return _choice("series", "Series", names, titles)


def plant(names: list[str]) -> str:
    """The plant of the address (`?plant=...`); choosing another changes the address."""
    return _choice("plant", "Plant", names, {})


def part(names: list[str]) -> str | None:
    """The part of a page in the address (`?part=...`), if any; a choice changes the address."""
    asked = st.query_params.get("part")
    current = asked if asked in names else None
    chosen = st.segmented_control("Part", names, default=current, label_visibility="collapsed")
    return _kept("part", chosen, before=current)


def _choice(key: str, label: str, names: list[str], titles: dict[str, str]) -> str:
    asked = st.query_params.get(key)
    if asked is not None and asked not in names:
        st.warning(
            f"There is nothing of “{quoted(asked)}” to show yet; this is {quoted(names[0])}."
        )
    # The menu of pages leads to addresses without choices: the last one is kept for them.
    current = next(
        (each for each in (asked, st.session_state.get(f"chosen {key}")) if each in names),
        names[0],
    )
    chosen = st.selectbox(
        label,
        names,
        index=names.index(current),
        format_func=lambda name: titles.get(str(name), str(name)),
    )
    if key == "domain" and chosen != current:
        _forget()
    st.session_state[f"chosen {key}"] = chosen
    return _kept(key, chosen, before=current)


def generation(numbers: list[int], titles: dict[int, str], *, label: str = "Generation") -> int:
    """The generation of the address (`?generation=...`); choosing another changes the address."""
    names = [str(number) for number in numbers]
    return int(_choice("generation", label, names, {str(each): titles[each] for each in numbers}))


def some(key: str, label: str, names: list[str], titles: dict[str, str]) -> str | None:
    """As the others, for a choice that may be left open: None, and then not in the address."""
    asked = st.query_params.get(key)
    given = st.selectbox(
        label,
        names,
        index=names.index(asked) if asked in names else None,
        format_func=lambda name: titles.get(str(name), str(name)),
        placeholder="any",
    )
    return _kept(key, given, before=asked if asked in names else None)


def text(key: str, label: str, *, placeholder: str) -> str | None:
    """What is written in a field, in the address too; None for nothing."""
    asked = st.query_params.get(key, "")
    given = st.text_input(label, asked, placeholder=placeholder)
    return _kept(key, given.strip() or None, before=asked.strip() or None)


def asked_day(key: str) -> date | None:
    """The day (UTC) of the address, such as `2026-01-31`, if any."""
    try:
        return date.fromisoformat(st.query_params.get(key, ""))
    except ValueError:
        return None


def day(key: str, label: str) -> date | None:
    """A day (UTC) that may be left open, in the address too."""
    asked = asked_day(key)
    given = st.date_input(label, asked, format="YYYY-MM-DD", min_value=date(1970, 1, 1))
    chosen = given if isinstance(given, date) else None
    _kept(
        key,
        None if chosen is None else chosen.isoformat(),
        before=None if asked is None else asked.isoformat(),
    )
    return chosen


def _forget() -> None:
    """Leaves the choices that were made among things of another domain."""
    for name in [name for name in st.query_params if name not in ("domain", "part")]:
        st.query_params.pop(name)
    for name in ("series", "generation", "plant"):
        st.session_state.pop(f"chosen {name}", None)


T = TypeVar("T", str, str | None)


def _kept(key: str, value: T, *, before: T) -> T:
    """Keeps a value in the address, and draws the page anew when it is another than `before`.

    The address is what a field begins with, and a field that begins with something else is a new
    one to Streamlit: without being drawn anew, the old one would still be there, and what is
    chosen in it next would be lost.
    """
    if value is None:
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = value
    if value != before:
        st.rerun()
    return value
