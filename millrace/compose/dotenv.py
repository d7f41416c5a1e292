"""`.env`: the settings and secrets of the containers, made from `.env.example`.

What is set stays as it is; a secret that is missing is made. Only the standard library is needed, so that a server
with Docker and a bare Python can do it: `python3 -m millrace.compose.dotenv`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from millrace.local.credentials import fernet_key, random_key, write_private
from millrace.local.errors import StackError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ".env.example"

SECRETS: Mapping[str, Callable[[], str]] = {
    "AIRFLOW_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(15),
    "AIRFLOW_FERNET_KEY": fernet_key,
    "AIRFLOW_JWT_SECRET": lambda: random_key() + random_key(),
    "AIRFLOW_SECRET_KEY": random_key,
    "POSTGRES_PASSWORD": random_key,
    "S3_ACCESS_KEY": lambda: f"millrace-{secrets.token_hex(6)}",
    "S3_SECRET_KEY": random_key,
    "STREAMHOST_PASSWORD": random_key,
}
_LINE = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$", re.MULTILINE)


def completed(text: str) -> tuple[str, list[str]]:
    """The text with every secret set, and the names of those that were made. Pure but for the secrets."""
    said = {found["name"]: found["value"].strip() for found in _LINE.finditer(text)}
    made = {name: make() for name, make in SECRETS.items() if not said.get(name)}

    def filled(found: re.Match[str]) -> str:
        return f"{found['name']}={made[found['name']]}" if found["name"] in made else found[0]

    text = _LINE.sub(filled, text)
    added = [f"{name}={value}" for name, value in made.items() if name not in said]
    if added:
        text = "\n".join([text.rstrip("\n"), *added]) + "\n"
    return text, list(made)


def ensure(root: Path = ROOT) -> str:
    """Make `.env`, or add what is missing in it; says what was done. Raises StackError.

    The file is readable by this user only; no secret is printed.
    """
    path, example = root / ".env", root / EXAMPLE
    is_new = not path.exists()
    try:
        before = (example if is_new else path).read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"{error.filename} cannot be read ({error.strerror}): run it in a clone of Millrace, as the owner of .env"
        ) from None
    text, made = completed(before)
    if made:
        write_private(path, text)
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    if is_new:
        return f"made {path} with {len(made)} new secrets, readable by you alone"
    return f"added to {path}: {', '.join(made)}" if made else f"{path} is complete: nothing was changed"


if __name__ == "__main__":
    print(ensure())
