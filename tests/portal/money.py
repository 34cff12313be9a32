"""What the tests of the portal's money share: an invoice with its file, the lines of a CSV, somebody who only looks."""

from __future__ import annotations

import csv
import io

from django.core.files.base import ContentFile
from django.utils import timezone

from apps.accounts.models import Document
from apps.accounts.permissions import Role
from apps.billing.models import InvoiceFile
from apps.core.csv import BOM
from tests.factories.accounts import MembershipFactory

HOST = {"host": "fleet.amber.localhost"}


def viewer_of(ours):
    return MembershipFactory(operator=ours.operator, role=Role.ORG_VIEWER, organisation=ours.fleet).user


def with_file(invoice, content=b"%PDF-1.7 ours"):
    document = Document(
        operator_id=invoice.operator_id, name="i.pdf", content_type="application/pdf", size=len(content)
    )
    document.file.save("i.pdf", ContentFile(content), save=True)
    InvoiceFile.everything.create(
        operator_id=invoice.operator_id, invoice=invoice, document=document, rendered_at=timezone.now()
    )
    return invoice


def lines_of(response) -> list[dict[str, str]]:
    text = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text.removeprefix(BOM))))
