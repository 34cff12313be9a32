"""Every change that billing makes: runs (`drafting`), final invoices and credit notes (`finalising`), PDFs and mails
(`delivery`)."""

from apps.billing.services.delivery import deliver_again, deliver_invoice, is_long, render_invoice, unfinished_invoices
from apps.billing.services.drafting import continue_drafting, draft_again, start_run
from apps.billing.services.finalising import cancel_invoice, continue_finalising, finalise_run

__all__ = [
    "cancel_invoice",
    "continue_drafting",
    "continue_finalising",
    "deliver_again",
    "deliver_invoice",
    "draft_again",
    "finalise_run",
    "is_long",
    "render_invoice",
    "start_run",
    "unfinished_invoices",
]
