"""From CDRs to invoices: monthly runs, numbers without gaps, credit notes, PDFs and their delivery.

`lines` turns rated items and contracts into invoice lines, `books` is what a run looks up, `problems` says what stops a
draft, `totals` sums up, `snapshots` holds all that an invoice shows, and `pdf` draws it from nothing but that.
"""
