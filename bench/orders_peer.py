"""The peer of bench/orders: Spark reads the topic and splits its lines, once through.

python -m bench.orders_peer TOPIC MESSAGES_PER_BATCH LINES [tuned]   (prints lines per second)
"""

from __future__ import annotations

import sys

from pyspark.sql import functions as F

from bench.peer import rate, read_topic

TUNED = "tuned"


def main() -> None:
    """Read the topic to its end and print the rate from the third batch on."""
    topic, per_batch, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
    records = read_topic(topic, per_batch, tuned=sys.argv[4:] == [TUNED])
    parts = F.split(F.col("value").cast("string"), ",")  # only once there is a session
    split = records.select(*(parts[number].alias(f"field_{number}") for number in range(7)))
    print(rate(split.writeStream, lines))


if __name__ == "__main__":
    main()
