"""The compose file really run, and what it must survive. In this order, on one stack; `python -m tests.compose.run`.

Not collected by `pytest tests`: it needs Docker, root's rights over its containers, and some ten minutes.
"""

from __future__ import annotations

import json

import pytest

from millrace.quality.results import results_prefix
from millrace.store import S3Store
from tests.compose import cluster
from tests.compose.recount import RECOUNTS, book, read_topic
from tests.compose.scene import PATIENCE, UP_WITHIN, Scene, in_words
from tests.compose.stack import Container, StackFailed
from tests.compose.told import Killed, Told
from tests.integration.test_order_stream import example, metrics_agree

SERVICES = {
    "postgres",
    "kafka",
    "s3",
    "init",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "streamhost",
    "gate",
}


def up(scene: Scene, *profiles: str) -> list[Container]:
    """`up --wait`, and what is there then."""
    words = ("up", "--detach", "--wait", "--wait-timeout", str(UP_WITHIN))
    try:
        scene.stack.compose(*words, profiles=profiles, within=UP_WITHIN + 120)
    except StackFailed as failed:
        raise StackFailed(f"{failed}\n{scene.stack.last_words()}") from None
    return scene.stack.containers()


def metrics_equal_a_recount(scene: Scene) -> tuple[int, int]:
    """The topic `metrics` up to the newest committed micro-batch, against the orders that were in it.

    How many messages of metrics, and how many orders.
    """
    manifest = scene.manifest("order_metrics")
    said = [
        (name, batch, json.loads(value))
        for name, generation, batch, value in example()(
            scene.settings.kafka, "metrics", scene.end_of("metrics")
        )
        if (generation, batch) <= (manifest.generation, manifest.batch)
    ]
    count = sum(manifest.offsets.values())
    metrics_agree(said, book(read_topic(scene.settings.kafka, "orders")[:count]))
    return len(said), count


def audited(store: S3Store, dataset: str) -> int:
    """How many published hours there are; each must have results of its audit."""
    hours = 0
    for info in store.list_objects(f"{dataset}/"):
        _, year, month, day, hour, _ = info.key.split("/")
        results = f"{results_prefix(dataset)}{year}/{month}/{day}/{hour}/"
        assert any(True for _ in store.list_objects(results)), f"{info.key} was published without an audit"
        hours += 1
    return hours


def test_the_whole_stack_comes_up(scene: Scene, told: Told) -> None:
    with told.step("up --wait") as say:
        containers = up(scene)
        assert {one.service for one in containers} == SERVICES
        ill = [one.name for one in containers if one.restarts and not one.well]
        assert ill == [], scene.stack.last_words()
        assert [one.exit_code for one in containers if one.service == "init"] == [0]
        say(f"{len(containers)} containers, healthy; {gate_says(scene)}")


def gate_says(scene: Scene) -> str:
    lines = scene.stack.compose("logs", "--no-color", "--no-log-prefix", "gate").splitlines()
    ready = [line.strip() for line in lines if "READY" in line]
    assert ready, "\n".join(lines)
    assert "NOT" not in ready[-1], ready[-1]
    return f"gate: {ready[-1]}"


def test_hours_are_published_and_audited(scene: Scene, told: Told) -> None:
    with told.step("Hours published and audited") as say:
        hours = {one.dataset: audited(scene.store, one.dataset) for one in RECOUNTS}
        assert all(hours.values()), hours
        say(", ".join(f"{name} {count} hours" for name, count in hours.items()))
    compared(scene, told, "What is published equals a recount")


def compared(scene: Scene, told: Told, title: str) -> None:
    with told.step(title) as say:
        found = scene.compare()
        assert all(one.rows > 100 for one in found), "so few rows prove nothing"
        say(in_words(found))


def test_metrics_of_orders_flow(scene: Scene, told: Told) -> None:
    with told.step("Metrics of orders flow") as say:
        before = scene.end_of("metrics")
        scene.next_commits()
        after = scene.end_of("metrics")
        assert after > before
        messages, orders = metrics_equal_a_recount(scene)
        say(f"{before:,} to {after:,} messages; the first {messages:,} equal a recount of {orders:,} orders")


def test_every_container_killed_in_turn(scene: Scene, told: Told) -> None:
    victims = [one for one in scene.stack.containers() if one.restarts]
    assert {one.service for one in victims} == SERVICES - {"init"}
    scene.next_commits()
    for victim in victims:
        with told.step(f"SIGKILL to {victim.service}") as say:
            now = scene.stack.container(victim.name)
            scene.stack.kill(now)
            healthy = scene.stack.wait_until_back(now, PATIENCE)
            committed = scene.next_commits()
            told.killed.append(Killed(victim.service, healthy, healthy + committed))
            say(f"healthy after {healthy:.1f} s, all streams committed after {healthy + committed:.1f} s")
    with told.step("All containers well together"):
        scene.stack.wait(
            lambda: all(one.well for one in scene.stack.containers() if one.restarts),
            PATIENCE,
            "all to be healthy",
        )
    compared(scene, told, "After the kills, everything is there once")
    with told.step("Metrics after the kills") as say:
        messages, orders = metrics_equal_a_recount(scene)
        say(f"{messages:,} messages equal a recount of {orders:,} orders")


def test_down_and_up_keep_everything(scene: Scene, told: Told) -> None:
    generations, hours = scene.generations(), scene.published()
    runs = dag_runs(scene)
    with told.step("down"):
        scene.stack.compose("down")
        assert scene.stack.containers() == []
    with told.step("up --wait again") as say:
        up(scene)
        say(gate_says(scene))
    with told.step("Everything was kept") as say:
        scene.next_commits()
        assert scene.generations() == generations, "a checkpoint was lost"
        lost = runs - dag_runs(scene)
        assert not lost, f"Airflow has forgotten {sorted(lost)}"
        after = scene.published()
        for dataset, rows in hours.items():
            assert rows.keys() <= after[dataset].keys()
        say(f"{len(runs)} runs in Airflow's history, generations {generations}")


def dag_runs(scene: Scene) -> set[tuple[str, str]]:
    """The DAG and the id of every run that Airflow knows."""
    found: set[tuple[str, str]] = set()
    while True:
        page = scene.api.get(f"/api/v2/dags/~/dagRuns?limit=100&offset={len(found)}&order_by=id")
        found |= {(run["dag_id"], run["dag_run_id"]) for run in page["dag_runs"]}
        if len(found) >= page["total_entries"] or not page["dag_runs"]:
            return found


@pytest.fixture
def spark(scene: Scene, told: Told) -> str:
    """The same stack with the profile `cluster`; the address of the master's page."""
    scene.variables["SPARK_MASTER"] = "spark://spark-master:7077"
    scene.stack.write_env(scene.variables)
    ui = f"http://127.0.0.1:{scene.variables['SPARK_UI_PORT']}"
    with told.step("up --wait with the profile cluster") as say:
        up(scene, "cluster")
        scene.next_commits()
        say(gate_says(scene))
    with told.step("Drivers work on the workers") as say:
        streams = {one.stream for one in RECOUNTS}
        scene.wait(
            lambda: streams <= set(cluster.applications(ui).values()),
            "all streams to be applications of the master",
        )
        scene.wait(
            lambda: streams <= {one.application for one in cluster.executors(scene.stack, ui)},
            "an executor of each on a worker",
        )
        where = sorted((one.application, one.worker.name) for one in cluster.executors(scene.stack, ui))
        say(", ".join(f"{name} on {worker}" for name, worker in where))
    return ui


def test_a_worker_and_an_executor_killed_mid_batch(scene: Scene, told: Told, spark: str) -> None:
    stream = "order_metrics"
    batches = cluster.Batches.of(scene.stack.volume("streamhost-home"), stream)
    with told.step("An executor killed mid-batch") as say:
        victim = executor_of(scene, spark, stream)
        batch = cluster.kill_mid_batch(batches, victim.pid, within=PATIENCE)
        seconds = scene.next_commits()
        assert batches.is_committed(batch)
        say(f"batch {batch} of {stream} was at work; all streams committed after {seconds:.1f} s")
    with told.step("A worker killed mid-batch") as say:
        worker = executor_of(scene, spark, stream).worker
        batch = cluster.kill_mid_batch(batches, worker.pid, within=PATIENCE)
        healthy = scene.stack.wait_until_back(worker, PATIENCE)
        seconds = scene.next_commits()
        assert batches.is_committed(batch)
        told.killed.append(Killed(worker.service, healthy, healthy + seconds))
        say(f"batch {batch} of {stream} was at work; {worker.name} healthy after {healthy:.1f} s")
        scene.wait(lambda: cluster.alive_workers(spark) == 2, "both workers at the master")
    with told.step("SIGKILL to spark-master") as say:
        (master,) = (one for one in scene.stack.containers() if one.service == "spark-master")
        scene.stack.kill(master)
        healthy = scene.stack.wait_until_back(master, PATIENCE)
        seconds = scene.next_commits()
        told.killed.append(Killed(master.service, healthy, healthy + seconds))
        say(f"healthy after {healthy:.1f} s")


def test_in_the_end_everything_is_there_once(scene: Scene, told: Told) -> None:
    compared(scene, told, "After all faults, everything is there once")
    with told.step("Metrics after all faults") as say:
        messages, orders = metrics_equal_a_recount(scene)
        say(f"{messages:,} messages equal a recount of {orders:,} orders")


def executor_of(scene: Scene, ui: str, stream: str) -> cluster.Executor:
    """The executor of a stream, once it has one."""
    found: list[cluster.Executor] = []

    def one() -> bool:
        found[:] = [one for one in cluster.executors(scene.stack, ui) if one.application == stream]
        return bool(found)

    scene.wait(one, f"an executor of {stream}")
    return found[0]
