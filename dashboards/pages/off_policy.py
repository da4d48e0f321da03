"""What do the logs say a candidate would have earned, and how far do they carry?"""

import streamlit as st

st.title("Off-policy")
