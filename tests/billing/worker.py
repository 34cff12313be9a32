"""A process of its own that works on a run, and may die in the middle.

Python's fork server imports this once; what it forks needs no second to begin.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from typing import Any

import django
from django.apps import apps
from django.db import connection

if not apps.ready:
    django.setup()

from apps.billing import pdf, services
from apps.billing.services import drafting, finalising

_processes = get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def begin(database: str, what: str, row_id: int, dies_at: int = 0) -> ForkServerProcess:
    """Begin to draft or finalise the run, or to render the invoice, of that id."""
    process = _processes.Process(target=work, args=(database, what, row_id, dies_at))
    process.start()
    return process


def die_at(module: Any, name: str, call: int) -> None:
    """Let the process be killed when a function of `module` is called for the so-manieth time."""
    original, calls = getattr(module, name), []

    def dying(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(module, name, dying)


def work(database: str, what: str, row_id: int, dies_at: int) -> None:
    connection.settings_dict["NAME"] = database
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
