"""The made-up market as a running feed: so many orders a second, dated now, their ids continuing those in Kafka."""

from __future__ import annotations

import logging
from itertools import islice

from confluent_kafka import Message

from millrace.catalog import format_duration
from millrace.feeds.context import FeedContext
from millrace.feeds.kafka_tail import last_of_each_partition
from millrace.feeds.orders.line import id_of_line, line_time, order_line
from millrace.feeds.orders.market import orders
from millrace.feeds.orders.options import OrdersOptions
from millrace.feeds.pace import Pace
from millrace.feeds.past import past_moments

log = logging.getLogger(__name__)

_TELL_EVERY = 60.0
_ONCE = 1.0
"""Seconds of orders that `once` sends."""


def run(context: FeedContext, options: OrdersOptions) -> None:
    """Run until stopped, or until the order with id `total` is sent.

    Delivery is in order, so the last id in Kafka tells all that was sent: after a crash nothing is missing and
    nothing doubled. While no feed runs there are no orders; the gap is not filled. Only an empty topic gets a past.
    """
    last = last_order_id(context)
    log.info("%s: the last order in Kafka has id %d; goes on with %d", context.name, last, last + 1)
    market = orders(options.seed, last + 1)
    sent = 0
    if last == 0:
        moments = past_moments(context.clock(), options.history, options.rate)
        for moment, order in zip(moments, islice(market, options.total), strict=False):
            context.sink.send(order_line(order, line_time(moment)))
            last, sent = order.order_id, sent + 1
        market = orders(options.seed, last + 1)
        log.info("%s: %d orders of the past %s sent", context.name, sent, format_duration(options.history))
    pace, told = Pace(options.rate), context.clock()
    while True:
        wanted = max(1, int(options.rate * _ONCE)) if context.once else pace.due()
        if options.total is not None:
            wanted = min(wanted, options.total - last)
        at = line_time(context.clock())
        for order in islice(market, max(0, wanted)):
            context.sink.send(order_line(order, at))
            last, sent = order.order_id, sent + 1
        if options.total is not None and last >= options.total:
            log.info("%s: order %d was the last, `total` is %d", context.name, last, options.total)
            return
        if context.once or not pace.wait(context.stop):
            return
        if context.clock() - told >= _TELL_EVERY:
            log.info("%s: %d orders sent, up to id %d", context.name, sent, last)
            told = context.clock()


def last_order_id(context: FeedContext) -> int:
    """The id of the newest order line in the topic; 0 when there is none."""

    def read(message: Message) -> int | None:
        return id_of_line(message.value())

    ids = last_of_each_partition(
        context.bootstrap, context.topic, "orders", wanted=lambda message: bool(message.value()), read=read
    )
    return max(ids, default=0)
