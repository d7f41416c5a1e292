"""The secrets of one home: made at the first start, kept in `<home>/secrets.json` (mode 0600), never shown.

They reach processes through their environment only; no argument list, log or other file holds one.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from millrace.local.errors import StackError

ADMIN_USER = "admin"
ADMIN_PASSWORD = "AIRFLOW_ADMIN_PASSWORD"  # noqa: S105 - a name, not a password


def random_key() -> str:
    return secrets.token_urlsafe(32)


def fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


_MAKERS: Mapping[str, Callable[[], str]] = {
    "AWS_ACCESS_KEY_ID": lambda: f"millrace-{secrets.token_hex(6)}",
    "AWS_SECRET_ACCESS_KEY": random_key,
    ADMIN_PASSWORD: lambda: secrets.token_urlsafe(15),
    "AIRFLOW__CORE__FERNET_KEY": fernet_key,
    "AIRFLOW__API__SECRET_KEY": random_key,
    "AIRFLOW__API_AUTH__JWT_SECRET": lambda: random_key() + random_key(),
}


def secrets_file(home: Path) -> Path:
    return home / "secrets.json"


def ensure_secrets(home: Path) -> dict[str, str]:
    """The home's secrets; what is missing is made and kept. Raises StackError when the file is broken."""
    path = secrets_file(home)
    kept = _read(path)
    missing = {name: make() for name, make in _MAKERS.items() if not kept.get(name)}
    if missing:
        kept = {**kept, **missing}
        write_private(path, json.dumps(kept, indent=1) + "\n")
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return kept


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all (it is never seen half written)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise StackError(f"{path} is broken: restore it, or start anew with `millrace clean`")
    return content
