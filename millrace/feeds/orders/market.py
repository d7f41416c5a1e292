"""A made-up market: the orders of a seed, each a pure function of the seed and its id.

So the truth about any span of ids is known without having seen a message: `orders(seed, first)` gives them again.
Clients 1 to 100, 80 symbols, quantities 1 to 1,000, whole prices 1 to 100, as in the file of the book "Spark in
Action". Some clients and symbols are busier than others, or the top five would be five at random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache, lru_cache
from string import ascii_uppercase

from millrace.feeds.orders.line import Order

CLIENTS = 100
SYMBOLS = 80
MAX_QUANTITY = 1000
MAX_PRICE = 100
_BLOCK = 1000
"""Orders that are made together: one random generator serves a block, so that any id is reached at once."""


def orders(seed: int, first: int = 1) -> Iterator[Order]:
    """The orders from id `first` on (ids begin at 1), without end."""
    block, within = divmod(first - 1, _BLOCK)
    while True:
        yield from _orders_of(seed, block)[within:]
        block, within = block + 1, 0


@cache
def symbols(seed: int) -> tuple[str, ...]:
    """The 80 different symbols of 1 to 4 capital letters, the busiest first."""
    rng = random.Random(f"symbols of {seed}")
    found: dict[str, None] = {}
    while len(found) < SYMBOLS:
        found["".join(rng.choices(ascii_uppercase, k=rng.choices((1, 2, 3, 4), (1, 3, 10, 10))[0]))] = None
    return tuple(found)


@lru_cache(maxsize=4)
def _orders_of(seed: int, block: int) -> tuple[Order, ...]:
    clients, client_weights, prices, symbol_weights = _habits(seed)
    rng = random.Random(f"orders of {seed}, block {block}")
    names = symbols(seed)
    who = rng.choices(clients, cum_weights=client_weights, k=_BLOCK)
    what = rng.choices(range(SYMBOLS), cum_weights=symbol_weights, k=_BLOCK)
    made = []
    for number in range(_BLOCK):
        price = min(MAX_PRICE, max(1, prices[what[number]] + int(rng.gauss(0, 4))))
        made.append(
            Order(
                order_id=block * _BLOCK + number + 1,
                client_id=who[number],
                symbol=names[what[number]],
                quantity=1 + int(rng.random() * MAX_QUANTITY),
                price=price,
                buy=rng.random() < 0.5,
            )
        )
    return tuple(made)


@cache
def _habits(seed: int) -> tuple[list[int], list[float], list[int], list[float]]:
    """Clients in a random order with their cumulative weights, a usual price and a cumulative weight per symbol."""
    rng = random.Random(f"habits of {seed}")
    clients = rng.sample(range(1, CLIENTS + 1), CLIENTS)
    prices = [rng.randint(1, MAX_PRICE) for _ in range(SYMBOLS)]
    return clients, _cumulative(CLIENTS), prices, _cumulative(SYMBOLS)


def _cumulative(number: int) -> list[float]:
    """The first is about three times as busy as the last."""
    total, sums = 0.0, []
    for rank in range(number):
        total += 1.0 / (1.0 + 2.0 * rank / number)
        sums.append(total)
    return sums
