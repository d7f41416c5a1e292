"""The kinds of feeds: what each may be told, where it sends unless told otherwise, and the module that runs it.

A module is imported only when its kind runs, so that the list of feeds appears at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace.feeds.jetstream.options import JetstreamOptions
from millrace.feeds.option_types import FeedOptions
from millrace.feeds.options import CityOptions, GbfsOptions, ReplayOptions, SeoulOptions
from millrace.feeds.orders.options import OrdersOptions, OrdersReplayOptions
from millrace.feeds.posts.options import PostsDemoOptions, TweetsOptions
from millrace.feeds.socket.options import SocketOptions


@dataclass(frozen=True)
class Kind:
    """`module` has a function `run(context, options)`."""

    options: type[FeedOptions]
    module: str
    topic: str
    may_repeat: bool = False
    """Two instances at once do no harm: what is true counts once, however often it is said. Such a feed does not pause
    while it cannot ask whether it is the newest, as what it does not fetch in time is lost."""


KINDS: dict[str, Kind] = {
    "city": Kind(CityOptions, "millrace.feeds.city.feed", "station_polls"),
    "gbfs": Kind(GbfsOptions, "millrace.feeds.gbfs.feed", "station_polls", may_repeat=True),
    "seoul": Kind(SeoulOptions, "millrace.feeds.seoul.feed", "station_polls", may_repeat=True),
    "replay": Kind(ReplayOptions, "millrace.feeds.replay", "station_polls"),
    "orders": Kind(OrdersOptions, "millrace.feeds.orders.feed", "orders"),
    "orders_replay": Kind(OrdersReplayOptions, "millrace.feeds.orders.replay", "orders"),
    "posts_demo": Kind(PostsDemoOptions, "millrace.feeds.posts.demo_feed", "posts"),
    "tweets": Kind(TweetsOptions, "millrace.feeds.posts.tweets_feed", "posts"),
    "jetstream": Kind(JetstreamOptions, "millrace.feeds.jetstream.feed", "posts"),
    "socket": Kind(SocketOptions, "millrace.feeds.socket.feed", "lines"),
}
