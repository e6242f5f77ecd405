"""What handlers may say of their jobs: refused at once where it makes no sense."""

import pytest

from gotaskq import GotaskqError
from gotaskq.control import MAX_DELAY_S, Cancel, Control, Discard, Retry, Snooze


@pytest.mark.parametrize("delay_s", [0, 0.5, 30, MAX_DELAY_S])
def test_a_delay_of_up_to_a_year_is_taken(delay_s: float) -> None:
    assert (Retry(delay_s).delay_s, Snooze(delay_s).delay_s) == (delay_s, delay_s)


@pytest.mark.parametrize("delay_s", [-1, -0.001, MAX_DELAY_S + 1, float("nan"), float("inf")])
@pytest.mark.parametrize("control", [Retry, Snooze])
def test_another_delay_is_refused(control: type[Retry | Snooze], delay_s: float) -> None:
    with pytest.raises(ValueError, match=r"it must be from 0 to 31536000 seconds"):
        control(delay_s)


@pytest.mark.parametrize("control", [Retry, Snooze])
def test_what_is_no_number_is_refused(control: type[Retry | Snooze]) -> None:
    with pytest.raises(TypeError):
        control("30")  # type: ignore[arg-type]  # what a user without a type checker may pass


def test_a_retry_leaves_the_delay_to_the_policy() -> None:
    assert (Retry().delay_s, Retry().reason) == (None, "")


@pytest.mark.parametrize(
    ("control", "shown"),
    [
        (Retry(), "the handler asked for a retry"),
        (Retry(5, "the shop is closed"), "the shop is closed"),
        (Snooze(90), "the handler asked to be called again in 90 s"),
        (Cancel("no need"), "no need"),
        (Discard("no use"), "no use"),
    ],
)
def test_each_says_what_it_is_about(control: Control, shown: str) -> None:
    assert str(control) == shown


def test_they_are_no_errors_of_ours() -> None:
    assert not issubclass(Control, GotaskqError)
