"""Millrace: long-lived Spark streams as first-class citizens of Airflow."""

__version__ = "0.1.0"
