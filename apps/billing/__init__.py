"""From CDRs to invoices: monthly runs, numbers without gaps, credit notes, PDFs and their delivery.

`drafting` collects what is billable into drafts and checks them, `finalising` gives numbers and freezes, `snapshots`
says all that an invoice shows, `pdf` draws it from nothing but that.
"""
