"""Airflow's api-server with the password of `.env`: one that Airflow makes itself it would print into its log."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from millrace.local.credentials import ADMIN_PASSWORD, ADMIN_USER, write_private

PASSWORDS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"


def main() -> None:
    environment = dict(os.environ)
    # Out of the environment, so that no process of the server has it.
    password = environment.pop(ADMIN_PASSWORD)
    write_private(Path(environment[PASSWORDS_FILE]), json.dumps({ADMIN_USER: password}) + "\n")
    line = [sys.executable, "-m", "airflow", "api-server", *sys.argv[1:]]
    os.execve(line[0], line, environment)  # noqa: S606


if __name__ == "__main__":
    main()
