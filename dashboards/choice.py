"""The domain and the series that a page shows: in its address, so that it can be passed on."""

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
