"""OCPP 1.6J. `hot` reads and answers the six actions that come often; `rare` the others; `commands` is what we ask."""

PROTOCOL = "ocpp1.6"
# The lanes of what chargers send (gateway contract G3).
URGENT = frozenset({"Authorize", "StartTransaction", "StopTransaction"})
BULK = frozenset({"BootNotification", "StatusNotification", "MeterValues"})
RARE = frozenset({"DataTransfer", "DiagnosticsStatusNotification", "FirmwareStatusNotification"})
