"""What billing tells itself, through the task queue. Payloads are ids and numbers."""

from __future__ import annotations

from apps.core import events

RUN_BEGUN = events.declare(
    "billing.run_begun", "A run has something left to draft or to finalise: run_id, drafting, after."
)
INVOICE_FINALISED = events.declare("billing.invoice_finalised", "An invoice or credit note is final: invoice_id.")
INVOICE_READY = events.declare("billing.invoice_ready", "Its PDF is drawn, or cannot be drawn here: invoice_id.")
