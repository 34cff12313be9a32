"""Bills 20,000 sessions of 1,000 accounts, and draws some of the invoices.

    python -m benchmarks.billing

The database that the settings name must be migrated and empty; `make bench ONLY=billing` sees to that.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import resource
import sys
import time
from collections.abc import Callable

import django

ACCOUNTS = 1_000
SESSIONS_EACH = 20
DRAWN = 40
MOST_MINUTES = 10.0
MOST_GROWTH_MB = 150
FEWEST_PAGES_A_SECOND = 1.0


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from pypdf import PdfReader

    from apps.billing import pdf, services
    from apps.billing.models import Invoice
    from apps.core.actor import Actor
    from tests.factories.billing import MONTH, make_cdrs, make_customer
    from tests.factories.cast import make_tenant

    tenant = make_tenant("Bench")
    for _number in range(ACCOUNTS):
        contract = make_customer(tenant, bind=False, base_fee="9.90")
        make_cdrs(tenant, contract, ["5.43"] * SESSIONS_EACH)
    actor = Actor.system(tenant.operator)
    before = peak_mb()
    run = services.start_run(actor=actor, period=MONTH, cutoff_at=dt.datetime.now(dt.UTC))
    drafting = timed(lambda: services.continue_drafting(run_id=run.pk))
    services.finalise_run(actor=actor, run=run, why="benchmark")
    finalising = timed(lambda: services.continue_finalising(run_id=run.pk))
    growth = peak_mb() - before
    invoices = Invoice.objects.visible_to(actor).final().order_by("number")
    final = invoices.count()
    print(f"  {final} invoices of {ACCOUNTS * SESSIONS_EACH} sessions: drafted in {drafting:.0f} s, final in "
          f"{finalising:.0f} s, memory +{growth:.0f} MB")  # fmt: skip
    chosen = [invoice.snapshot for invoice in invoices[:DRAWN]]
    pdf.draw(chosen[0])  # imports and fonts are read once a process
    drawn: list[bytes] = []
    seconds = timed(lambda: drawn.extend(pdf.draw(snapshot) for snapshot in chosen))
    pages = sum(len(PdfReader(io.BytesIO(content)).pages) for content in drawn)
    print(f"  {len(drawn)} PDFs with {pages} pages in {seconds:.1f} s: {pages / seconds:.1f} pages a second")
    met = (
        final == ACCOUNTS
        and drafting + finalising <= MOST_MINUTES * 60
        and growth <= MOST_GROWTH_MB
        and pages / seconds >= FEWEST_PAGES_A_SECOND
    )
    return 0 if met else 1


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
