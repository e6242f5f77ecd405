"""Names of queues: a small alphabet, lower case, and none that a path would read as something else."""

import pytest

from gotaskq.errors import InvalidRequestError
from gotaskq.names import check_queue_name


def test_a_name_is_lower_cased() -> None:
    assert check_queue_name("Mail.Out_1-x") == "mail.out_1-x"


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "ä", "a/b", "a{b}", "a" * 65, ".", "..", "v1", "QUEUE", "a:b"])
def test_a_name_that_cannot_be_a_queues_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        check_queue_name(name)

    assert error.value.field == "queue"
