"""The task queue of a test: what was enqueued is run here, as the cluster would."""

from __future__ import annotations

from django_q.models import OrmQ
from django_q.signing import SignedPackage


def run_tasks(limit: int = 50) -> int:
    """Run what waits, and what that enqueues in turn; returns how many tasks ran."""
    ran = 0
    while (waiting := OrmQ.objects.order_by("pk").first()) is not None and ran < limit:
        task = SignedPackage.loads(waiting.payload)
        waiting.delete()
        task["func"](*task["args"], **task["kwargs"])
        ran += 1
    return ran
