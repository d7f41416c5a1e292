"""A bare Debian as the ground of stand-in images, with this machine's own way to the package registries in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.compose.ground import Unavailable, need, run

LABEL = "millrace.stand-in"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
PIP_KEYS = (
    "global.cert",
    "global.index-url",
    "global.extra-index-url",
    "global.proxy",
    "global.trusted-host",
)


def base_image(suite: str, work: Path) -> str:
    """The name of an image with nothing but Debian `suite`; made with debootstrap when there is none.

    Raises Unavailable.
    """
    name = f"millrace-stand-in/debian:{suite}"
    if run(["docker", "image", "inspect", name], check=False).returncode == 0:
        return name
    need("debootstrap", "debootstrap")
    root = work / suite
    shutil.rmtree(root, ignore_errors=True)  # of a run that was broken off
    work.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", "--include=ca-certificates"]
    run(["debootstrap", *options, suite, root, debian_mirror()])
    _lay_routes(root)
    _import(root, name)
    shutil.rmtree(root)
    return name


def debian_mirror() -> str:
    """Where apt gets this machine's own release from. Raises Unavailable."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    codename = release.get("VERSION_CODENAME", "")
    asked = run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
    for line in asked.stdout.splitlines():
        site, _, suite = line.partition(" ")
        if suite == codename and release.get("ID") == "debian":
            return site
    raise Unavailable(
        "no image can be pulled, and stand-ins are made on Debian only: apt has no Debian release here"
    )


def _lay_routes(root: Path) -> None:
    """What makes apt and pip work here: authorities of its own, proxies, another index. Nothing, mostly."""
    settings = run(["apt-config", "dump"]).stdout.splitlines()
    own = [line for line in settings if line.lower().startswith(("acquire::http", "acquire::ftp"))]
    (root / "etc/apt/apt.conf.d/90route").write_text("\n".join([*own, ""]))
    if AUTHORITIES.is_dir():
        shutil.copytree(AUTHORITIES, root / str(AUTHORITIES)[1:], dirs_exist_ok=True)
        run(["chroot", root, "update-ca-certificates"])
    said = run(["python3", "-m", "pip", "config", "list"], check=False).stdout.splitlines()
    pairs = [line.partition("=") for line in said if line.startswith(PIP_KEYS)]
    lines = [f"{key.removeprefix('global.')} = {value.strip(chr(39))}" for key, _, value in pairs]
    (root / "etc/pip.conf").write_text("\n".join(["[global]", *lines, ""]))


def _import(root: Path, name: str) -> None:
    """A directory as an image of one layer."""
    command = ["docker", "import", "--change", f"LABEL {LABEL}=base", "-", name]
    pack = ["tar", "-C", str(root), "--exclude=./var/cache/apt/archives/*.deb", "-c", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
        done = subprocess.run(command, stdin=tar.stdout, capture_output=True, text=True, env=os.environ)
    if done.returncode or tar.returncode:
        raise Unavailable(f"docker import of Debian {name} failed: {done.stderr.strip()}")
