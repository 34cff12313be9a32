"""What 1.6 chargers send seldom. Strict: a payload that breaks its schema is refused. Each is called inside the
transaction that also writes its frame.

Source: OCPP 1.6 sections 4.3, 4.4, 4.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apps.installations.models import ProgressReport
from apps.ocpp.frames import CallError
from apps.ocpp.v16.schemas import violation

if TYPE_CHECKING:
    from apps.ocpp.batches import Call


def handle(call: Call) -> dict[str, Any]:
    """The confirmation of a DataTransfer, DiagnosticsStatusNotification or FirmwareStatusNotification.

    Raises CallError with the code of what is wrong with its payload.
    """
    wrong = violation(call.action, call.payload)
    if wrong is not None:
        raise CallError(*wrong)
    return _HANDLERS[call.action](call)


def _data_transfer(call: Call) -> dict[str, Any]:
    # No vendor's extension is spoken here. What was sent is in the frame log.
    return {"status": "UnknownVendorId"}


def _diagnostics_status(call: Call) -> dict[str, Any]:
    _keep(call, ProgressReport.About.DIAGNOSTICS)
    return {}


def _firmware_status(call: Call) -> dict[str, Any]:
    _keep(call, ProgressReport.About.FIRMWARE)
    return {}


def _keep(call: Call, about: ProgressReport.About) -> None:
    # The same message may come to this twice, where the answer of a commit was lost.
    ProgressReport.objects.bulk_create(
        [
            ProgressReport(
                operator_id=call.operator_id,
                station_id=call.station_id,
                about=about,
                status=call.payload["status"],
                received_at=call.received_at,
                generation=call.generation,
                sequence=call.sequence,
            )
        ],
        ignore_conflicts=True,
    )


_HANDLERS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "DataTransfer": _data_transfer,
    "DiagnosticsStatusNotification": _diagnostics_status,
    "FirmwareStatusNotification": _firmware_status,
}
