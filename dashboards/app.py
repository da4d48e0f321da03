"""The dashboard: pages over the store. Run it with `decisions up`."""

import sys
from pathlib import Path

import streamlit as st

# `streamlit run` puts this folder on the path, and pages import `queries` and `charts` from it;
# the tests' runner does not.
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

st.set_page_config(page_title="Decisions", page_icon=":material/timeline:", layout="wide")
st.navigation(
    [
        st.Page(
            "pages/generations.py",
            title="Generations",
            icon=":material/timeline:",
            default=True,
        )
    ]
).run()
