"""The embedded stack: Kafka, an S3 server, Airflow, stream host and feed as processes of one machine."""
