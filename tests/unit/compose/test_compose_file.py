"""What must hold for every container of docker-compose.yml, whoever edits it next."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.compose.dotenv import SECRETS
from millrace.local.jars import read_lock
from millrace.settings import PROJECT_ROOT

FILE = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
ONE_SHOTS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
OWN = {name for name, service in SERVICES.items() if service["image"] == "millrace:local"}
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
TELLS_STREAMHOST = {"airflow-scheduler", "gate"}
FULL_VERSION = re.compile(r":v?\d+\.\d+(\.\d+)?(-python3\.\d+)?$")
EXAMPLE = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")


def values(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param] | {"name": request.param}


def test_every_image_is_built_here_or_pinned_to_a_full_version(service: dict[str, Any]) -> None:
    builders = [
        name for name, other in SERVICES.items() if "build" in other and other["image"] == service["image"]
    ]
    if service["image"].endswith(":local"):
        assert len(builders) == 1, "told of it more than once, Docker's old builder builds it more than once"
        return
    assert not builders
    assert FULL_VERSION.search(service["image"]), service["image"]


def test_what_the_images_are_built_on_is_pinned_and_is_what_is_locked() -> None:
    text = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert {stage for _, stage in bases} == {
        service["build"]["target"] for service in SERVICES.values() if "build" in service
    }
    assert all(FULL_VERSION.search(image) for image, _ in bases), bases
    assert f"apache/airflow:{version('apache-airflow')}-python3.11" in dict(bases)
    assert "--require-hashes -r requirements.txt" in text
    assert not re.search(r"RUN --mount|COPY --link|<<EOF", text), "any builder can build it"
    # Whatever is the last user of a stage is the user of its containers.
    for stage in text.split("FROM ")[1:]:
        assert re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1] not in ("root", "0"), stage


def test_kafka_is_the_one_that_the_embedded_stack_runs() -> None:
    broker = next(re.search(r"kafka_2\.13-(.+)\.jar", name) for name in read_lock() if "/kafka_2.13-" in name)
    assert broker is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{broker[1]}"


def test_nobody_is_root_and_nobody_can_become_it(service: dict[str, Any]) -> None:
    assert str(service["user"]).partition(":")[0] not in ("", "0", "root")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    assert all(not str(volume).startswith((".", "/", "~")) for volume in service.get("volumes", [])), (
        "named volumes"
    )


def test_every_container_has_a_limit_of_memory_and_of_its_log(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\$\{[A-Z0-9_]+:-\d+[mg]\}|\d+m", service["mem_limit"]), service["mem_limit"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_what_runs_on_has_a_health_check_and_is_started_again(service: dict[str, Any]) -> None:
    if service["name"] in ONE_SHOTS:
        return
    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries"} <= service["healthcheck"].keys()


def test_up_waits_for_the_end_of_what_runs_once() -> None:
    """`up --wait` calls a container that has ended a failure, unless another one depends on its success."""
    for name in ONE_SHOTS:
        waits = [
            other
            for other, service in SERVICES.items()
            if service.get("depends_on", {}).get(name) == {"condition": "service_completed_successfully"}
        ]
        assert set(waits) >= {*AIRFLOW, "streamhost"}, name


def test_the_gate_is_last_and_its_health_is_its_answer() -> None:
    gate = SERVICES["gate"]
    assert gate["depends_on"].keys() == {*AIRFLOW, "streamhost"}
    assert {one["condition"] for one in gate["depends_on"].values()} == {"service_healthy"}
    answer = values(gate)["MILLRACE_GATE_ANSWER"]
    assert answer in gate["healthcheck"]["test"][-1]
    (memory,) = gate["tmpfs"]
    place, _, options = memory.partition(":")
    assert place == str(Path(answer).parent), "an answer does not outlive the container that gave it"
    uid = gate["user"].partition(":")[0]
    assert f"uid={uid}" in options.split(","), "without an owner it is root's after a restart"
    assert gate["healthcheck"]["retries"] == 1


def test_ports_are_settings_and_of_this_machine_only(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        found = re.fullmatch(r"127\.0\.0\.1:\$\{(?P<name>[A-Z0-9_]+):-(?P<default>\d+)\}:\d+", port)
        assert found, port
        assert f"\n# {found['name']}={found['default']}\n" in EXAMPLE


def test_no_secret_is_in_the_file_and_none_may_be_missing() -> None:
    text = (PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{([A-Z0-9_]+):\?is not set, run `millrace env`\}", text))
    assert used == set(SECRETS)
    for name in SECRETS:
        assert not re.search(rf"\${{{name}(:-|-|}})", text), f"{name} without a refusal"
        assert f"\n{name}=\n" in EXAMPLE, f"{name} has a value in .env.example"


def test_every_setting_is_in_the_example_with_the_default_that_it_has_without() -> None:
    text = (PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = dict(re.findall(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE))
    for name, default in re.findall(r"\$\{([A-Z0-9_]+):?-([^}]*)\}", text):
        assert name in example, name
        if name != "SPARK_MASTER":
            assert example[name] == default, name


def test_all_of_airflow_has_the_same_secrets_issuer_and_addresses() -> None:
    names = (
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API_AUTH__JWT_ISSUER",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "MILLRACE_KAFKA",
        "MILLRACE_S3_ENDPOINT",
    )
    common = {name: values(SERVICES["airflow-scheduler"])[name] for name in names}
    for component in (*AIRFLOW, "init", "gate"):
        found = values(SERVICES[component])
        assert {name: found[name] for name in names} == common, component
    assert common["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://airflow-api-server:8080/execution/"


def test_only_who_needs_them_has_a_password_and_the_way_to_the_stream_host() -> None:
    on_control = {name for name, service in SERVICES.items() if "control" in service.get("networks", [])}
    assert on_control == {"streamhost", *TELLS_STREAMHOST}
    assert FILE["networks"]["control"] == {"internal": True}
    having = {
        secret: {
            name
            for name, service in SERVICES.items()
            if any(f"${{{secret}:" in one for one in values(service).values())
        }
        for secret in SECRETS
    }
    assert having["STREAMHOST_PASSWORD"] == on_control
    assert having["AIRFLOW_ADMIN_PASSWORD"] == {"airflow-api-server", "gate"}
    assert having["POSTGRES_PASSWORD"] == {"postgres", "init", "gate", *AIRFLOW}
    assert not SERVICES["streamhost"].get("ports")


def test_drivers_have_a_place_that_lasts_and_time_to_finish() -> None:
    host = SERVICES["streamhost"]
    assert "streamhost-home:/var/lib/millrace" in host["volumes"]
    assert int(host["stop_grace_period"].rstrip("s")) >= 90, "stop_within of a stream is 60 s"
    assert {
        volume.partition(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])
    } == FILE["volumes"].keys()


def test_a_cluster_is_the_same_image_and_its_master_remembers() -> None:
    cluster = {name for name, service in SERVICES.items() if service.get("profiles") == ["cluster"]}
    assert cluster == {"spark-master", "spark-worker"}
    assert cluster <= OWN
    options = values(SERVICES["spark-master"])["SPARK_DAEMON_JAVA_OPTS"]
    assert "recoveryMode=FILESYSTEM" in options
    assert "spark.master.rest.enabled=false" in options, "it would run what anybody sends"
    directory = re.search(r"recoveryDirectory=(\S+)", options)
    assert directory
    assert any(
        directory[1].startswith(volume.split(":")[1]) for volume in SERVICES["spark-master"]["volumes"]
    )


def test_the_memory_of_all_fits_a_small_server() -> None:
    megabytes = 0
    for service in SERVICES.values():
        number, unit = re.findall(r"(\d+)([mg])", service["mem_limit"])[-1]
        if "profiles" not in service and service["restart"] != "no":
            megabytes += int(number) * (1024 if unit == "g" else 1)
    assert megabytes <= 8 * 1024
