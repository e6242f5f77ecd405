"""A Flask application that sends its e-mail as jobs; nothing joins the two but `enqueue_sync`.

BACKEND_URL=redis://localhost:6379/0 flask --app main run
gotaskq worker main:queue --backend redis://localhost:6379/0
"""

import os

from flask import Flask, abort, request

from gotaskq import TaskQ
from gotaskq.errors import JobNotFoundError

queue = TaskQ(os.environ.get("BACKEND_URL", "redis://localhost:6379/0"))
app = Flask(__name__)


@queue.task()
def welcome(to: str) -> dict[str, str]:
    with app.app_context():  # for what asks Flask where it is, such as its extensions
        return {"sent_to": to}


@app.post("/signup")
def sign_up() -> tuple[dict[str, str], int]:
    return {"job": str(welcome.enqueue_sync(request.form["to"]).id)}, 202


@app.get("/signup/<int:job_id>")
def look(job_id: int) -> dict[str, object]:
    try:
        job = queue.get_sync(job_id)
    except JobNotFoundError:
        abort(404)
    return {"status": job.status.value, "result": job.result}
