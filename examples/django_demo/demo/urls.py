"""The views: one enqueues, one looks."""

from django.http import Http404, HttpRequest, JsonResponse
from django.urls import path

from demo.tasks import add, welcome

try:
    from django.tasks.exceptions import TaskResultDoesNotExist
except ImportError:
    from django_tasks.exceptions import TaskResultDoesNotExist


def sign_up(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"task": welcome.enqueue(request.GET["to"]).id}, status=202)


async def sum_up(request: HttpRequest) -> JsonResponse:
    result = await add.aenqueue(int(request.GET["left"]), right=int(request.GET["right"]))
    return JsonResponse({"task": result.id}, status=202)


def look(_: HttpRequest, task_id: str) -> JsonResponse:
    try:
        result = welcome.get_backend().get_result(task_id)
    except TaskResultDoesNotExist as error:
        raise Http404 from error
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return JsonResponse({"status": result.status, "result": value, "attempts": result.attempts})


urlpatterns = [path("signup", sign_up), path("sum", sum_up), path("tasks/<task_id>", look)]
