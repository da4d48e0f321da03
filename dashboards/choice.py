"""What a page shows, the domain first of all: in its address, so that it can be passed on."""

from datetime import date

import streamlit as st

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


def _choice(key: str, label: str, names: list[str], titles: dict[str, str]) -> str:
    asked = st.query_params.get(key)
    if asked is not None and asked not in names:
        st.warning(f"There is nothing of “{asked}” to show yet; this is {names[0]}.")
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
    st.query_params[key] = chosen
    st.session_state[f"chosen {key}"] = chosen
    return chosen


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
    return _kept(key, given)


def text(key: str, label: str, *, placeholder: str) -> str | None:
    """What is written in a field, in the address too; None for nothing."""
    given = st.text_input(label, st.query_params.get(key, ""), placeholder=placeholder)
    return _kept(key, given.strip() or None)


def day(key: str, label: str) -> date | None:
    """A day (UTC) that may be left open, in the address too (`2026-01-31`)."""
    try:
        asked = date.fromisoformat(st.query_params.get(key, ""))
    except ValueError:
        asked = None
    given = st.date_input(label, asked, format="YYYY-MM-DD", min_value=date(1970, 1, 1))
    _kept(key, given.isoformat() if isinstance(given, date) else None)
    return given if isinstance(given, date) else None


def _kept(key: str, value: str | None) -> str | None:
    if value is None:
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = value
    return value
