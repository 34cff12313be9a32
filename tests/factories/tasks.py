"""The task queue of a test: what was enqueued is run here, as the cluster would."""

from __future__ import annotations

from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage


def run_tasks(limit: int = 50) -> int:
    """Run what waits, and what that enqueues in turn; returns how many ran. One that raises stays in the queue."""
    ran = 0
    while (waiting := OrmQ.objects.order_by("pk").first()) is not None and ran < limit:
        task = SignedPackage.loads(waiting.payload)
        do = import_string(task["func"]) if isinstance(task["func"], str) else task["func"]
        do(*task["args"], **task["kwargs"])
        waiting.delete()
        ran += 1
    return ran
