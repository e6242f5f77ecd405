"""The journalled backend does what the model does, however often it is put together anew from its journal."""

from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import rule
from tests.conformance.journals import DictJournal
from tests.property.machine import BackendMachine

from gotaskq.backends.journalled import JournalledBackend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLimits

pytestmark = pytest.mark.slow


class JournalledMachine(BackendMachine):
    def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> JournalledBackend:
        self.journal = DictJournal()
        self.again = partial(JournalledBackend, self.journal, limits, clock=clock, rng=rng)
        return self.again()

    @rule()
    def crash_and_start_again(self) -> None:
        crashed, self.backend = self.backend, self.again()
        self.run(self.backend.open())
        self.run(crashed.close())  # too late to change anything
        for job_id in self._in("RUNNING"):
            self.model.jobs[job_id].deadline_ms = 0
        self.model.requests.clear()  # they are not recorded
        self.walk = None  # deaths are numbered anew, so a listing of them begins anew, too
        self.has_time_passed = True


JournalledMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestJournalledModel = JournalledMachine.TestCase
