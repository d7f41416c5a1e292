import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.publish.version import Version, VersionOverflow

versions = st.builds(
    Version, st.integers(0, (1 << 15) - 1), st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 32) - 1)
)


@given(versions, versions)
def test_packing_keeps_the_order_and_can_be_undone(a: Version, b: Version) -> None:
    assert (a < b) == (a.packed() < b.packed())
    assert Version.unpacked(a.packed()) == a
    assert 0 <= a.packed() < 1 << 63


@pytest.mark.parametrize(
    "bad", [Version(1 << 15, 0, 0), Version(0, 1 << 16, 0), Version(0, 0, 1 << 32), Version(0, 0, -1)]
)
def test_a_part_that_does_not_fit_is_refused_and_never_wrapped(bad: Version) -> None:
    with pytest.raises(VersionOverflow):
        bad.packed()
