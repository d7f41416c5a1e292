"""order_metrics: order lines -> metrics every few seconds, and orders per symbol and hour.

Source: Kafka topic `orders` (lines of docs/schemas.md). Transform: the exact order step. Sinks: facts of dataset
`orders_hourly` in landing/; BUYS, SELLS, TOP5CLIENTS and TOP5STOCKS to the topic `metrics` and the live view.
"""

from __future__ import annotations

from millrace.catalog import StreamSpec
from spark_apps.runtime.app import NoOptions, main, options_of
from spark_apps.transforms.order_fold import OrderFold


def fold_of(spec: StreamSpec) -> OrderFold:
    """The transform with the rules that the catalog gives it."""
    options_of(spec, NoOptions)
    return OrderFold(late_by=spec.late_by)


if __name__ == "__main__":
    main("order_metrics", fold_of)
