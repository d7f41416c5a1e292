"""Generated stations, polls and JSON values."""

from typing import Any

from hypothesis import strategies as st

from millrace.feeds.model import Poll, Station

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
counts = st.integers(0, 2**31 - 1)
times = st.integers(1, 4_102_444_799)

stations = st.builds(
    Station,
    station_id=ids,
    bikes=counts,
    docks=st.none() | counts,
    ebikes=st.none() | counts,
    bikes_disabled=st.none() | counts,
    docks_disabled=st.none() | counts,
    installed=st.none() | st.booleans(),
    renting=st.none() | st.booleans(),
    returning=st.none() | st.booleans(),
)

polls = st.builds(
    Poll,
    system_id=ids,
    observed_at=times,
    fetched_at=times,
    stations=st.lists(stations, max_size=5).map(tuple),
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
