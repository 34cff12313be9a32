"""How a simulated charger answers what we ask of it (OCPP 1.6 section 5), and its configuration (section 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.ocpp.simulator.charger import SimulatedCharger

Payload = dict[str, Any]
MAX_KEYS = 50


class _Silence:
    """The charger does not answer."""


SILENCE = _Silence()


@dataclass(slots=True)
class Setting:
    """A configuration key."""

    value: str
    readonly: bool = False
    after_reboot: bool = False
    is_number: bool = False


def default_configuration(connectors: int) -> dict[str, Setting]:
    """What the charger comes with from its factory."""
    sampled = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC,Temperature"
    return {
        "AuthorizeRemoteTxRequests": Setting("false"),
        "ClockAlignedDataInterval": Setting("0", is_number=True),
        "ConnectionTimeOut": Setting("60", is_number=True),
        "GetConfigurationMaxKeys": Setting(str(MAX_KEYS), readonly=True, is_number=True),
        "HeartbeatInterval": Setting("300", is_number=True),
        "LocalAuthorizeOffline": Setting("true"),
        "MeterValueSampleInterval": Setting("60", is_number=True),
        "MeterValuesSampledData": Setting(sampled),
        "NumberOfConnectors": Setting(str(connectors), readonly=True, is_number=True),
        "StopTransactionOnEVSideDisconnect": Setting("true"),
        "StopTxnSampledData": Setting(""),
        "SupportedFeatureProfiles": Setting("Core,RemoteTrigger", readonly=True),
        "TransactionMessageAttempts": Setting("3", is_number=True),
        "TransactionMessageRetryInterval": Setting("10", is_number=True),
        "WebSocketPingInterval": Setting("60", after_reboot=True, is_number=True),
    }


def answer(charger: SimulatedCharger, action: str, payload: Payload) -> list[Any] | None:
    """The CALLRESULT or CALLERROR to a command, without its id: [3, payload] or [4, code, description, {}]; None for no
    answer. What follows from it happens after the answer has left."""
    scripted = charger.answers.get(action)
    if scripted is SILENCE:
        return None
    if callable(scripted):
        return [3, scripted(payload)]
    if scripted is not None:
        return [3, scripted]
    handler = _HANDLERS.get(action)
    if handler is None:
        return [4, "NotImplemented", f"{action} is not known here", {}]
    try:
        return [3, handler(charger, payload)]
    except KeyError as missing:
        return [4, "FormationViolation", f"{missing} is missing", {}]


def _remote_start(charger: SimulatedCharger, payload: Payload) -> Payload:
    wanted = payload.get("connectorId")
    for number, one in charger.connectors.items():
        if wanted in (None, number) and one.operative and one.transaction is None and one.status != "Faulted":
            uid = payload["idTag"]
            if charger.supervised:
                one.remote.put_nowait(uid)
            else:
                charger.spawn(_begin(charger, number, uid))
            return {"status": "Accepted"}
    return {"status": "Rejected"}


async def _begin(charger: SimulatedCharger, connector: int, uid: str) -> None:
    charger.start(connector, uid)
    await charger.deliver()
    await charger.report(connector, "Charging")


def _remote_stop(charger: SimulatedCharger, payload: Payload) -> Payload:
    transaction = charger.transaction(payload["transactionId"])
    if transaction is None:
        return {"status": "Rejected"}
    end(charger, transaction.connector, "Remote")
    return {"status": "Accepted"}


def end(charger: SimulatedCharger, connector: int, reason: str) -> None:
    """End what is charging at a connector: by whoever lives this charger's life, else at once."""
    one = charger.connectors[connector]
    one.ask_to_stop(reason)
    if not charger.supervised:
        charger.spawn(_finish(charger, connector, reason))


async def _finish(charger: SimulatedCharger, connector: int, reason: str) -> None:
    charger.stop(connector, reason)
    await charger.deliver()
    await charger.report(connector, "Available")


def _reset(charger: SimulatedCharger, payload: Payload) -> Payload:
    charger.spawn(charger.restart(f"{payload['type']}Reset"))
    return {"status": "Accepted"}


def _unlock(charger: SimulatedCharger, payload: Payload) -> Payload:
    one = charger.connectors.get(payload["connectorId"])
    if one is None:
        return {"status": "NotSupported"}
    if one.transaction is not None:
        end(charger, one.number, "UnlockCommand")
    return {"status": "Unlocked"}


def _change_availability(charger: SimulatedCharger, payload: Payload) -> Payload:
    number, operative = payload["connectorId"], payload["type"] == "Operative"
    if number not in (0, *charger.connectors):
        return {"status": "Rejected"}
    chosen = [one for one in charger.connectors.values() if number in (0, one.number)]
    for one in chosen:
        one.operative = operative
    busy = [one for one in chosen if one.transaction is not None]
    for one in chosen:
        if one not in busy:
            charger.spawn(charger.report(one.number))
    return {"status": "Scheduled" if busy and not operative else "Accepted"}


def _get_configuration(charger: SimulatedCharger, payload: Payload) -> Payload:
    wanted = payload.get("key") or list(charger.configuration)
    known = {name.lower(): name for name in charger.configuration}
    found = [known[name.lower()] for name in wanted if name.lower() in known]
    return {
        "configurationKey": [
            {"key": name, "readonly": one.readonly, "value": one.value}
            for name in found
            for one in [charger.configuration[name]]
        ],
        "unknownKey": [name for name in wanted if name.lower() not in known],
    }


def _change_configuration(charger: SimulatedCharger, payload: Payload) -> Payload:
    setting = charger.configuration.get(payload["key"])
    if setting is None:
        return {"status": "NotSupported"}
    if setting.readonly or (setting.is_number and not payload["value"].isdigit()):
        return {"status": "Rejected"}
    setting.value = payload["value"]
    if payload["key"] == "HeartbeatInterval":
        charger.heartbeat_s = max(int(payload["value"]), 10)
    return {"status": "RebootRequired" if setting.after_reboot else "Accepted"}


def _clear_cache(charger: SimulatedCharger, payload: Payload) -> Payload:
    return {"status": "Accepted"}


def _trigger_message(charger: SimulatedCharger, payload: Payload) -> Payload:
    number = payload.get("connectorId")
    if number is not None and number not in (0, *charger.connectors):
        return {"status": "Rejected"}
    wanted = payload["requestedMessage"]
    if wanted == "BootNotification":
        charger.spawn(charger.boot())
    elif wanted == "Heartbeat":
        charger.spawn(charger.heartbeat())
    elif wanted == "StatusNotification":
        charger.spawn(charger.report_all() if number is None else charger.report(number))
    elif wanted == "MeterValues":
        charger.spawn(_triggered_readings(charger, number))
    else:
        return {"status": "NotImplemented"}
    return {"status": "Accepted"}


async def _triggered_readings(charger: SimulatedCharger, number: int | None) -> None:
    for one in charger.connectors.values():
        if number in (None, 0, one.number):
            charger.measure(one.number, "Trigger")
    await charger.deliver()


def _data_transfer(charger: SimulatedCharger, payload: Payload) -> Payload:
    return {"status": "UnknownVendorId"}


_HANDLERS: dict[str, Callable[[SimulatedCharger, Payload], Payload]] = {
    "ChangeAvailability": _change_availability,
    "ChangeConfiguration": _change_configuration,
    "ClearCache": _clear_cache,
    "DataTransfer": _data_transfer,
    "GetConfiguration": _get_configuration,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "Reset": _reset,
    "TriggerMessage": _trigger_message,
    "UnlockConnector": _unlock,
}
