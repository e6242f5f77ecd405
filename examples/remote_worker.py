"""A worker that knows nothing of GoTaskQ but its HTTP API: the standard library, and one job at a time.

python examples/remote_worker.py http://127.0.0.1:8000      (TOKEN: a token with scope `work`, where there are tokens)
It runs jobs of type `shout` and ends once none has come for WAIT seconds.
"""

import json
import os
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from typing import Any

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
LEASE_S = 30
WISH = {"types": ["shout"], "wait": int(os.environ.get("WAIT", "20")), "lease": LEASE_S, "worker": f"py-{os.getpid()}"}


def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call the service, again while it is away or busy: every call may be repeated, for a lease is settled once."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {os.environ.get('TOKEN', '')}"}
    while True:
        try:
            request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)  # noqa: S310 - URL is the user's own
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                return {"error": f"{error.code}: {error.read().decode()}"}  # 409: the job is somebody else's by now
        except OSError:
            pass
        time.sleep(2)


def keep(lease: str, ended: threading.Event) -> None:
    """Renew the lease three times in its length, until the job has ended."""
    while not ended.wait(LEASE_S / 3):
        post(f"/leases/{lease}/heartbeat", {"lease": LEASE_S})  # its answer may say that the job is to be cancelled


def run(lease: str, payload: dict[str, Any]) -> None:
    """Handle one job, and say what came of it."""
    ended = threading.Event()
    threading.Thread(target=keep, args=(lease, ended), daemon=True).start()
    try:
        act, body = "complete", {"result": payload["text"].upper()}
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
        act, body = "fail", {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    ended.set()
    print(act, post(f"/leases/{lease}/{act}", body))


while leases := post("/leases", WISH).get("leases"):
    run(leases[0]["lease"], leases[0]["job"]["payload"])
