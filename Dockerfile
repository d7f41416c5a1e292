# The images of docker-compose.yml that are not taken as they are. Any builder can build it.

# The S3 server as it is, with a place for its data that belongs to a user who is not root.
FROM versity/versitygw:v1.8.0 AS s3
USER root
RUN mkdir -p /data/buckets /data/meta && chown -R 1000:1000 /data
USER 1000:1000
ENTRYPOINT ["/app/versitygw"]

# Airflow, the stream host, Spark's master and workers: all of ours in one image.
FROM apache/airflow:3.3.2-python3.11 AS millrace
USER root
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /opt/millrace /opt/airflow/logs /var/lib/millrace \
 && chown airflow:0 /opt/millrace /opt/airflow/logs /var/lib/millrace
USER airflow
WORKDIR /opt/millrace

# A virtual environment of its own: exactly what is locked, and none of the providers that the base brings along.
COPY --chown=airflow:0 requirements.txt ./
RUN python3.11 -m venv .venv \
 && .venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-input \
      --require-hashes -r requirements.txt
ENV PATH=/opt/millrace/.venv/bin:$PATH \
    PYSPARK_PYTHON=/opt/millrace/.venv/bin/python \
    MILLRACE_HOME=/var/lib/millrace \
    MILLRACE_JARS=/opt/millrace/jars \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    TZ=UTC

COPY --chown=airflow:0 . ./
RUN .venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-input \
      --no-deps --no-build-isolation --editable . \
 && python -c 'from millrace.local.jars import ensure_jars; ensure_jars()'
# A layer of its own: what it keeps of the jars are their times, and a layer keeps those to the second.
RUN millrace install

# Not the base's own entry point, which waits for a database that half of these containers do not have.
ENTRYPOINT ["/usr/bin/dumb-init", "--"]
