"""A process of its own that works on a run, and may die in the middle: `python -m tests.billing.worker draft 7`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import django

django.setup()

from apps.billing import pdf, services  # noqa: E402
from apps.billing.services import drafting, finalising  # noqa: E402


def die_at(module: Any, name: str, call: int) -> None:
    """Let the process be killed when a function of `module` is called for the so-manieth time."""
    original, calls = getattr(module, name), []

    def dying(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(module, name, dying)


def main(what: str, row_id: int, dies_at: int = 0) -> None:
    drafting.CDRS_A_PORTION, finalising.INVOICES_A_CHUNK = 4, 4
    if what == "draft":
        die_at(drafting, "_write_lines", dies_at)
        services.continue_drafting(run_id=row_id)
    elif what == "finalise":
        die_at(finalising, "record_audit", dies_at)
        services.continue_finalising(run_id=row_id)
    else:
        die_at(pdf, "printed", dies_at)
        services.render_invoice(invoice_id=row_id)


if __name__ == "__main__":
    main(sys.argv[1], *(int(one) for one in sys.argv[2:]))
