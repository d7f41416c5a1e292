from __future__ import annotations

import threading
from datetime import UTC, datetime

from millrace.feeds.http import Backoff
from millrace.feeds.reconnect import Reconnect
from millrace.feeds.source_watch import SourceWatch


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float) -> datetime:
        self.now += seconds
        return datetime.fromtimestamp(self.now, UTC)


def test_messages_wait_from_the_first_that_kafka_has_not_taken() -> None:
    clock = Clock()
    watch = SourceWatch(clock)
    assert watch.seen().report.waiting_since is None
    began = clock.later(5)
    watch.sent()
    clock.later(5)
    watch.sent()
    assert (watch.seen().waiting, watch.seen().report.waiting_since) == (2, began)
    taken = clock.later(5)
    watch.stored()
    seen = watch.seen()
    assert (seen.stored, seen.waiting, seen.report.waiting_since) == (1, 1, taken)
    watch.stored()
    assert (watch.seen().waiting, watch.seen().report.waiting_since) == (0, None)


def test_a_problem_counts_from_its_beginning_until_the_source_answers() -> None:
    clock = Clock()
    watch = SourceWatch(clock)
    began = clock.later(1)
    watch.failed("HTTP 503")
    clock.later(60)
    watch.failed("no route to host")
    report = watch.seen().report
    assert (report.problem, report.problem_since) == ("no route to host", began)
    answered = clock.later(1)
    watch.answered()
    report = watch.seen().report
    assert (report.problem, report.problem_since, report.answered_at) == (None, None, answered)


def test_of_many_sources_the_one_that_is_away_longest_is_named() -> None:
    clock = Clock()
    watch = SourceWatch(clock)
    began = clock.later(1)
    watch.failed("HTTP 404", "a.org/gbfs.json")
    clock.later(1)
    watch.failed("HTTP 503", "b.org/gbfs.json")
    watch.answered("c.org/gbfs.json")
    report = watch.seen().report
    assert (report.problem, report.problem_since) == ("a.org/gbfs.json: HTTP 404, and 1 more", began)
    watch.answered("a.org/gbfs.json")
    assert watch.seen().report.problem == "b.org/gbfs.json: HTTP 503"


def test_what_cannot_be_read_is_counted_and_forgotten_when_something_can() -> None:
    watch = SourceWatch()
    watch.rejected("bad_json", "not JSON")
    watch.rejected("bad_json", "not JSON")
    assert watch.seen().rejected == {"bad_json": 2}
    assert watch.seen().report.unreadable == "bad_json: not JSON"
    watch.nothing_new()
    assert watch.seen().report.unreadable is None
    watch.rejected("bad_json", "not JSON")
    watch.sent()
    assert watch.seen().report.unreadable is None
    assert watch.seen().rejected == {"bad_json": 3}


def test_connections_that_are_made_again_tell_it_without_more_ado() -> None:
    watch = SourceWatch()
    again = Reconnect(Backoff(), watch)
    again.failed("localhost:9999: connection refused")
    assert watch.seen().report.problem == "localhost:9999: connection refused"
    again.worked()
    assert watch.seen().report.problem is None


def test_it_counts_right_from_many_threads() -> None:
    watch = SourceWatch()

    def work() -> None:
        for _ in range(2_000):
            watch.sent()
            watch.stored()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = watch.seen()
    assert (seen.stored, seen.waiting, seen.report.waiting_since) == (8_000, 0, None)


def test_half_a_surrogate_pair_in_what_a_server_said_does_not_keep_a_status_from_being_written() -> None:
    watch = SourceWatch()
    watch.rejected("missing_field", "the reply has \ud800")
    watch.failed("HTTP 500 \udcff")
    report = watch.seen().report
    assert (report.unreadable, report.problem) == ("missing_field: the reply has ?", "HTTP 500 ?")
    assert report.model_dump_json()
