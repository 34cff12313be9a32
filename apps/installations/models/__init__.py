"""Locations and what stands there. Live columns never share a row with edited ones."""

from apps.installations.models.commands import Command, CommandState
from apps.installations.models.imports import DataImport, ImportState
from apps.installations.models.inventory import (
    EVSE,
    ChargingStation,
    Connector,
    Contact,
    HardwareAssignment,
    HardwareUnit,
    Location,
    StationModel,
    UnknownCardPolicy,
    identity_validator,
)
from apps.installations.models.live import (
    Boot,
    ConfigurationValue,
    ConnectionInterval,
    ConnectorState,
    ConnectorStatus,
    ErrorCode,
    ProgressReport,
    StationState,
    StatusInterval,
)

__all__ = [
    "EVSE",
    "Boot",
    "ChargingStation",
    "Command",
    "CommandState",
    "ConfigurationValue",
    "ConnectionInterval",
    "Connector",
    "ConnectorState",
    "ConnectorStatus",
    "Contact",
    "DataImport",
    "ErrorCode",
    "HardwareAssignment",
    "HardwareUnit",
    "ImportState",
    "Location",
    "ProgressReport",
    "StationModel",
    "StationState",
    "StatusInterval",
    "UnknownCardPolicy",
    "identity_validator",
]
