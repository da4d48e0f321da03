"""The local stack: PostgreSQL, MLflow, Airflow and Streamlit under one supervisor."""
