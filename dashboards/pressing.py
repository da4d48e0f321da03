"""Buttons that start something long."""

import streamlit as st


def pressed(label: str, *, key: str, icon: str, primary: bool = False) -> bool:
    """Draws a button; whether it was pressed since it was last asked.

    The session keeps the press, so that a rerun that comes in between does not lose it.
    """

    def keep() -> None:
        st.session_state[f"pressed {key}"] = True

    st.button(label, key=key, icon=icon, type="primary" if primary else "secondary", on_click=keep)
    return bool(st.session_state.pop(f"pressed {key}", False))
