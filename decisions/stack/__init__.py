"""The local stack: PostgreSQL, MLflow, Airflow and the dashboard under one supervisor."""
