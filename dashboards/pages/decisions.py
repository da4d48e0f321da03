"""What was decided about one unit, why, and can it be decided again?"""

import streamlit as st

st.title("Decisions")
