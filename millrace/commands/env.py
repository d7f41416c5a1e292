"""`millrace env`: the `.env` of the containers."""

from __future__ import annotations


def env() -> None:
    """Make `.env` for docker-compose.yml, with random secrets; what is set in it already stays as it is."""
    from millrace.compose.dotenv import ensure

    print(ensure())
