"""The tasks; Django before version 6 has them in the package django-tasks."""

try:
    from django.tasks import TaskContext, task
except ImportError:
    from django_tasks import TaskContext, task


@task(queue_name="mail", priority=10, takes_context=True)
def welcome(context: TaskContext, to: str) -> dict[str, object]:
    return {"sent_to": to, "attempt": context.attempt}


@task
async def add(left: int, right: int) -> int:
    return left + right
