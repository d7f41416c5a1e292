"""What a process of a test must be given to find its Kafka, its store and its catalog."""

from __future__ import annotations

from millrace.settings import PROJECT_ROOT, Settings


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables by which these settings reach a process that is started with them."""
    return {
        "PYTHONPATH": str(PROJECT_ROOT),
        "MILLRACE_HOME": str(settings.home),
        "MILLRACE_CATALOG": str(settings.catalog_dir),
        "MILLRACE_KAFKA": settings.kafka,
        "MILLRACE_S3_ENDPOINT": settings.s3_endpoint or "",
        "MILLRACE_BUCKET": settings.bucket,
        "MILLRACE_PREFIX": settings.prefix,
        "AWS_ACCESS_KEY_ID": settings.access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.secret_key or "",
    }
