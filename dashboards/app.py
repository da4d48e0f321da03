"""The dashboard: pages over the store. Run it with `decisions up`."""

import sys
from pathlib import Path

import streamlit as st

# `streamlit run` puts this folder on the path, and pages import their neighbours from it; the
# tests' runner does not.
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

import menu
import sign_in

st.set_page_config(page_title="Decisions", page_icon=":material/timeline:", layout="wide")
try:
    who = sign_in.visitor()
except sign_in.Refused:
    who = None  # every page says why
page = menu.opened(who)
if who is not None:
    sign_in.sidebar(who)
menu.run(page)
