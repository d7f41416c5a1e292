"""What Millrace brings to Airflow: supervision of streams that never end."""
