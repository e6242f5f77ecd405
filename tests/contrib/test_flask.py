"""Flask needs nothing of ours but `enqueue_sync`: the demo, and the guide that says so, with a real Flask."""

import asyncio
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from tests.redis_servers import RedisServer

from gotaskq import TaskQ

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "flask_demo" / "main.py"


def load_demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flask_demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo


async def run_all(queue: TaskQ) -> None:
    async with queue, queue.workers(burst=True) as worker:
        await worker.ended.wait()


def test_a_view_enqueues_and_another_sees_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as server:
        monkeypatch.setenv("BACKEND_URL", server.url)
        demo = load_demo()
        client = demo.app.test_client()

        posted = client.post("/signup", data={"to": "a@b.c"})
        waiting = client.get(f"/signup/{posted.json['job']}").json
        asyncio.run(run_all(demo.queue))
        done = client.get(f"/signup/{posted.json['job']}").json

        assert (posted.status_code, waiting) == (202, {"status": "PENDING", "result": None})
        assert done == {"status": "DONE", "result": {"sent_to": "a@b.c"}}
        assert client.get("/signup/1").status_code == 404


def test_the_guide_shows_the_demo() -> None:
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/flask.md").read_text(), re.DOTALL)

    code = DEMO.read_text().partition('"""\n\n')[2]
    assert shown[0].strip() == code.strip()
