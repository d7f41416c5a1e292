"""Control: desired state, observed state, epochs (fencing), the decision, and the stream host.

Everything here but `launcher` and `streamhost` is plain data and pure functions over the object store;
importing it brings neither boto3 nor Spark nor Airflow, so that DAG files and drivers may both use it.
"""
