"""Every change to locations, chargers and their hardware, and what we ask of chargers."""

from apps.installations.services.commands import (
    answer_command,
    close_overdue_commands,
    finish_commands,
    finish_resets,
    lose_commands,
    request_command,
    return_commands,
)
from apps.installations.services.configuration import (
    begin_baseline,
    note_configuration_change,
    store_configuration,
)
from apps.installations.services.imports import change_imported, continue_import, preview_import, start_import
from apps.installations.services.stations import (
    ConnectorSpec,
    add_connector,
    archive_station,
    assign_hardware,
    confirm_connector,
    create_location,
    create_station,
    restore_station,
    trace_station,
)

__all__ = [
    "ConnectorSpec",
    "add_connector",
    "answer_command",
    "archive_station",
    "assign_hardware",
    "begin_baseline",
    "change_imported",
    "close_overdue_commands",
    "confirm_connector",
    "continue_import",
    "create_location",
    "create_station",
    "finish_commands",
    "finish_resets",
    "lose_commands",
    "note_configuration_change",
    "preview_import",
    "request_command",
    "restore_station",
    "return_commands",
    "start_import",
    "store_configuration",
    "trace_station",
]
