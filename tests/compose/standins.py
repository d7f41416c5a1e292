"""Images that the compose file names: pulled where they can be, else built from packages under the same name.

A stand-in has the same program in the same version, and keeps the parts of the real image's contract that the
compose file relies on: paths, environment variables, user, entrypoint. What differs is written in each Dockerfile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.local.ivy import retrieve
from tests.compose.base import LABEL, base_image
from tests.compose.ground import CACHE, Unavailable, need, run

HERE = Path(__file__).parent / "standins"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
SUITES_BY_PYTHON = {"3.11": "bookworm", "3.13": "trixie"}


@dataclass(frozen=True)
class Recipe:
    """How to build a stand-in: a directory below `standins/`, and what else its Dockerfile wants."""

    directory: str
    suite: Callable[[str], str]
    """Of Debian, by the tag."""
    arguments: Callable[[str], Mapping[str, str]]
    """Build arguments, by the tag."""
    prepare: Callable[[str, Path], None]
    """Puts into the build context what comes from registries that no Dockerfile reaches; by the tag."""


@dataclass(frozen=True)
class Image:
    """An image that is there now."""

    name: str
    is_standin: bool
    note: str


def ensure_image(name: str) -> Image:
    """Have an image under its name. Raises Unavailable."""
    found = _label(name)
    if found == "":
        return Image(name, False, "was there")
    pulled = run(["docker", "pull", "--quiet", name], check=False)
    if pulled.returncode == 0:
        return Image(name, False, "pulled")
    why = pulled.stdout.strip().splitlines()[-1]
    repository, _, tag = name.rpartition(":")
    recipe = RECIPES.get(repository)
    if recipe is None:
        raise Unavailable(f"{name} cannot be pulled ({why}), and there is no stand-in for {repository}")
    wanted = _fingerprint(recipe, tag)
    if found == wanted:
        return Image(name, True, "built before")
    _build(name, tag, recipe, wanted)
    return Image(name, True, "built now")


def proxy_arguments() -> list[str]:
    """Docker hands these to every step of a build, and keeps them out of the image."""
    return [word for name in PROXIES if name in os.environ for word in ("--build-arg", name)]


def _build(name: str, tag: str, recipe: Recipe, fingerprint: str) -> None:
    base = base_image(recipe.suite(tag), CACHE)
    with tempfile.TemporaryDirectory(prefix="standin-") as directory:
        context = Path(directory)
        shutil.copytree(HERE / recipe.directory, context, dirs_exist_ok=True)
        recipe.prepare(tag, context)
        arguments = {"BASE": base, **recipe.arguments(tag)}
        run(
            [
                *(
                    "docker",
                    "build",
                    "--quiet",
                    "--force-rm",
                    "--tag",
                    name,
                    "--label",
                    f"{LABEL}={fingerprint}",
                ),
                *(word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")),
                *proxy_arguments(),
                context,
            ],
            env=os.environ | {"DOCKER_BUILDKIT": "0"},
        )


def _label(name: str) -> str | None:
    """A stand-in's fingerprint, "" for a real image, None when there is none of that name."""
    form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    done = run(["docker", "image", "inspect", "--format", form, name], check=False)
    if done.returncode:
        return None
    return done.stdout.strip().removeprefix("<no value>")


def _fingerprint(recipe: Recipe, tag: str) -> str:
    """Another one when the tag or anything in the recipe's directory is."""
    digest = hashlib.sha256(tag.encode())
    for path in sorted((HERE / recipe.directory).rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _fetch_kafka(tag: str, context: Path) -> None:
    modules = {"kafka_2.13": tag, "kafka-tools": tag}
    named = "".join(
        f'<dependency org="org.apache.kafka" name="{name}" rev="{version}" conf="libs->master,compile,runtime"/>'
        for name, version in modules.items()
    )
    logger = '<dependency org="org.apache.logging.log4j" name="log4j-slf4j-impl" rev="2.25.4" conf="libs->master"/>'
    ivy = context / "ivy.xml"
    ivy.write_text(
        '<ivy-module version="2.0"><info organisation="millrace" module="stand-in" revision="1"/>'
        f'<configurations><conf name="libs"/></configurations><dependencies>{named}{logger}</dependencies>'
        "</ivy-module>"
    )
    with tempfile.TemporaryDirectory(prefix="ivy-") as cache:
        retrieve(ivy, ["libs"], context, Path(cache), transitive=True)


def _build_versitygw(tag: str, context: Path) -> None:
    need("go", "golang-go")
    module = f"github.com/versity/versitygw/cmd/versitygw@{tag}"
    run(["go", "install", module], cwd="/", env=os.environ | {"GOBIN": str(context), "CGO_ENABLED": "0"})


def _airflow_suite(tag: str) -> str:
    python = tag.partition("-python")[2]
    if python not in SUITES_BY_PYTHON:
        raise Unavailable(f"apache/airflow:{tag}: no Debian release has Python {python or '(not named)'}")
    return SUITES_BY_PYTHON[python]


def _nothing(tag: str, context: Path) -> None:
    pass


RECIPES = {
    "postgres": Recipe(
        "postgres", lambda _: "trixie", lambda tag: {"MAJOR": tag.partition(".")[0]}, _nothing
    ),
    "apache/kafka": Recipe("kafka", lambda _: "bookworm", lambda _: {}, _fetch_kafka),
    "versity/versitygw": Recipe("versitygw", lambda _: "bookworm", lambda _: {}, _build_versitygw),
    "apache/airflow": Recipe(
        "airflow", _airflow_suite, lambda tag: {"AIRFLOW_VERSION": tag.partition("-")[0]}, _nothing
    ),
}
