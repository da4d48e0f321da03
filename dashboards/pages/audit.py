"""Is what is stored what was sealed, and who changed what?"""

import streamlit as st

st.title("Audit")
