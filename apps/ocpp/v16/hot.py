"""The six actions of OCPP 1.6 that come often: a payload to a neutral body, a reply to a confirmation. Pure.

Repairs rather than refuses (gateway contract, "Repair rather than refuse"): what breaks the schema is read as it was
meant and the repair is named. Only where the needed minimum is missing, `CallError` is raised. Runs once a message.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

from ocpp.v16 import enums

from apps.charging.facts import Authorise, Body, Element, Ended, Kind, Measured, Moment, Reply, Started, Verdict
from apps.installations.status import MAX_CONNECTOR, Booted, StatusReported
from apps.ocpp.clock import read_time
from apps.ocpp.frames import CallError

BOOT_INTERVAL_S = 300
MAX_NUMBER = 2**31 - 1
MAX_METER_WH = 2**62  # the difference of two still fits 64 bit
MAX_TEXT = 64

Repairs = list[str]


def read(action: str, payload: dict[str, Any], received_at: dt.datetime) -> tuple[Body, tuple[str, ...]]:
    """The body of a hot action and the names of the repairs that reading it took.

    Raises `CallError` when the needed minimum is missing, and `KeyError` for an action that is not hot.
    """
    known, reader = _READERS[action]
    repairs: Repairs = []
    if not payload.keys() <= known:
        repairs.append("unknown_property")
    body = reader(payload, received_at, repairs)
    return body, tuple(dict.fromkeys(repairs))


def write(action: str, reply: Reply, now: dt.datetime, *, interval_s: int = BOOT_INTERVAL_S) -> dict[str, Any]:
    """The confirmation of a hot action. `now` and the heartbeat interval are what a boot is told."""
    if action == "BootNotification":
        return {"status": "Accepted", "currentTime": format_time(now), "interval": interval_s}
    confirmation: dict[str, Any] = {}
    if reply.verdict is not None:
        confirmation["idTagInfo"] = _id_tag_info(reply.verdict)
    if action == "StartTransaction":
        confirmation["transactionId"] = reply.transaction_id
    return confirmation


def format_time(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`, which every charger reads."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def start_key(connector: int, tag: str, at: Moment, meter_wh: int) -> str:
    """The idempotency key of a StartTransaction within its station (gateway contract, Keys)."""
    text = "\x1f".join((str(connector), tag, at.key, str(meter_wh)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _id_tag_info(verdict: Verdict) -> dict[str, Any]:
    info = {"status": verdict.status}
    if verdict.accepted and verdict.token is not None and verdict.token.expires_at is not None:
        info["expiryDate"] = format_time(verdict.token.expires_at)
    return info


# --- the six actions ---


def _read_boot(payload: dict[str, Any], received_at: dt.datetime, repairs: Repairs) -> Booted:
    def text(name: str, limit: int = 60) -> str:
        return _text(payload.get(name), limit, repairs)

    if not (payload.get("chargePointVendor") and payload.get("chargePointModel")):
        repairs.append("missing")
    return Booted(
        vendor=text("chargePointVendor"),
        model=text("chargePointModel"),
        serial=text("chargePointSerialNumber") or text("chargeBoxSerialNumber"),
        firmware=text("firmwareVersion"),
        iccid=text("iccid", 22),
        imsi=text("imsi", 22),
        meter_type=text("meterType"),
        meter_serial=text("meterSerialNumber"),
    )


def _read_status(payload: dict[str, Any], received_at: dt.datetime, repairs: Repairs) -> StatusReported:
    connector = _connector(payload, repairs, MAX_CONNECTOR)  # it would be made; facts are kept whatever the number
    sent = _text(_needed(payload, "status"), MAX_TEXT, repairs)
    status = _fold(sent, _STATUSES, repairs)
    info = _text(payload.get("info"), 200, repairs)
    if status not in _STATUSES.values():
        repairs.append("unknown_status")
        status, info = "Unknown", f"{sent}: {info}"[:200]
    if payload.get("errorCode") is None:
        repairs.append("missing")
    at = None
    if payload.get("timestamp") is not None:
        moment = _moment(payload["timestamp"], received_at, repairs)
        clamped, possible = moment.clamped(received_at)
        at = clamped if possible else None
    return StatusReported(
        connector=connector,
        status=status,
        at=at,
        error_code=_fold(_text(payload.get("errorCode"), 60, repairs), _ERROR_CODES, repairs),
        info=info,
        vendor_error_code=_text(payload.get("vendorErrorCode"), 60, repairs),
    )


def _read_authorize(payload: dict[str, Any], received_at: dt.datetime, repairs: Repairs) -> Authorise:
    return Authorise(_tag(_needed(payload, "idTag"), "idTag", repairs))


def _read_start(payload: dict[str, Any], received_at: dt.datetime, repairs: Repairs) -> Started:
    connector = _connector(payload, repairs)
    uid = _tag(_needed(payload, "idTag"), "idTag", repairs)
    meter_sent = _needed(payload, "meterStart")
    meter_wh = _meter(meter_sent, "meterStart", repairs)
    at = _moment(payload.get("timestamp"), received_at, repairs)
    return Started(
        connector=connector,
        uid=uid,
        at=at,
        meter_wh=meter_wh,
        meter_sent=str(meter_sent)[:40],
        start_key=start_key(connector, uid, at, meter_wh),
        clockless=at.clockless,
    )


def _read_meter_values(payload: dict[str, Any], received_at: dt.datetime, repairs: Repairs) -> Measured:
    connector = _connector(payload, repairs)
    elements = _elements(_needed(payload, "meterValue"), received_at, repairs)
    if not elements:
        raise CallError("PropertyConstraintViolation", "meterValue: no usable sample")
    return Measured(connector, _optional(_integer, payload.get("transactionId"), "transactionId", repairs), elements)


def _read_stop(payload: dict[str, Any], received_at: dt.datetime, repairs: Repairs) -> Ended:
    meter_sent = _needed(payload, "meterStop")
    data = payload.get("transactionData")
    return Ended(
        transaction_id=_integer(_needed(payload, "transactionId"), "transactionId", repairs),
        uid=_optional(_tag, payload.get("idTag"), "idTag", repairs),
        at=_moment(payload.get("timestamp"), received_at, repairs),
        meter_wh=_meter(meter_sent, "meterStop", repairs),
        meter_sent=str(meter_sent)[:40],
        reason=_fold(_text(payload.get("reason"), 40, repairs) or "Local", _REASONS, repairs),
        elements=() if data is None else _elements(data, received_at, repairs),
    )


# --- meter values ---


def _elements(items: Any, received_at: dt.datetime, repairs: Repairs) -> tuple[Element, ...]:
    elements = []
    for item in _list(items, repairs):
        kinds, values = _samples(item.get("sampledValue"), repairs) if isinstance(item, dict) else ([], [])
        if kinds:
            if not item.keys() <= _ELEMENT_FIELDS:
                repairs.append("unknown_property")
            at = _moment(item.get("timestamp"), received_at, repairs)
            elements.append(Element(at, tuple(kinds), tuple(values)))
        else:
            repairs.append("bad_sample")
    return tuple(elements)


def _samples(items: Any, repairs: Repairs) -> tuple[list[Kind], list[str]]:
    kinds, values = [], []
    for item in _list(items, repairs):
        try:
            get = item.get
            kind, odd = _kind(
                get("measurand"), get("unit"), get("phase"), get("context"), get("location"), get("format")
            )
            value = get("value")
            if type(value) is not str or not _NUMBER(value):
                value = _odd_value(value, kind.format, repairs)
        except (AttributeError, TypeError, ValueError):  # no object, an unhashable or unreadable member
            repairs.append("bad_sample")
            continue
        if odd or not item.keys() <= _SAMPLE_FIELDS:
            repairs.extend(odd or ("unknown_property",))
        kinds.append(kind)
        values.append(value)
    return kinds, values


@lru_cache(maxsize=4096)
def _kind(*sent: str | None) -> tuple[Kind, tuple[str, ...]]:
    """Measurand, unit, phase, context, location and format with case folded and defaults filled in, and the repairs.
    A charger sends the same few combinations for ever. Raises ValueError for what is no short text."""
    repairs: Repairs = []
    fields = []
    for text, (default, names) in zip(sent, _SAMPLE_DEFAULTS, strict=True):
        if text is None:
            fields.append(default)
            continue
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise ValueError("not a short text")
        fields.append(_fold(text, names, repairs) or default)
    return Kind(*fields), tuple(dict.fromkeys(repairs))


def _odd_value(value: Any, form: str, repairs: Repairs) -> str:
    """A value that is not a number in plain text. Raises ValueError where it is neither a number nor signed data."""
    if type(value) is str and form == "SignedData":
        return str(value)
    if type(value) in (int, float):
        repairs.append("number_as_text")
        return str(value)
    text = str(value).strip().replace(",", ".")
    if type(value) is not str or not _NUMBER(text):
        raise ValueError("no number")
    repairs.append("odd_number")
    return text


# --- fields ---


def _needed(payload: dict[str, Any], name: str) -> Any:
    value = payload.get(name)
    if value is None:
        raise CallError("OccurenceConstraintViolation", f"{name} is missing")
    return value


def _optional[T](read: Callable[[Any, str, Repairs], T], value: Any, name: str, repairs: Repairs) -> T | None:
    """What nobody needs is left out where it cannot be read; a number beyond 64 bit is refused all the same."""
    if value is None:
        return None
    try:
        return read(value, name, repairs)
    except CallError as error:
        if error.code != "TypeConstraintViolation":
            raise
        repairs.append("bad_field")
        return None


def _connector(payload: dict[str, Any], repairs: Repairs, highest: int = MAX_NUMBER) -> int:
    number = _integer(_needed(payload, "connectorId"), "connectorId", repairs)
    if not 0 <= number <= highest:
        raise CallError("PropertyConstraintViolation", "connectorId is no connector")
    return number


def _meter(value: Any, name: str, repairs: Repairs) -> int:
    number = _integer(value, name, repairs)
    if abs(number) > MAX_METER_WH:
        raise CallError("FormationViolation", f"{name} is out of range")
    return number


def _integer(value: Any, name: str, repairs: Repairs) -> int:
    if type(value) is int:
        number = value
    elif type(value) is float or (type(value) is str and len(value) <= 40 and _NUMBER(value.strip())):
        exact = Decimal(value.strip() if type(value) is str else repr(value))
        if abs(exact) > 2**64:  # not made an integer: 1e99999999 is a short text too
            raise CallError("FormationViolation", f"{name} is beyond 64 bit")
        number = int(exact.to_integral_value(ROUND_HALF_UP))
        repairs.append("text_as_number" if type(value) is str else "odd_number")
        if number != exact:
            repairs.append("rounded")
    else:
        raise CallError("TypeConstraintViolation", f"{name} is no integer")
    if not -(2**63) <= number < 2**63:
        raise CallError("FormationViolation", f"{name} is beyond 64 bit")
    return number


def _tag(value: Any, name: str, repairs: Repairs) -> str:
    if isinstance(value, str):
        if len(value) > 20:
            repairs.append("too_long")
        return value
    if type(value) in (int, float):
        repairs.append("number_as_text")
        return str(value)
    raise CallError("TypeConstraintViolation", f"{name} is no text")


def _text(value: Any, limit: int, repairs: Repairs) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        if type(value) not in (int, float):
            repairs.append("bad_text")
            return ""
        repairs.append("number_as_text")
        value = str(value)
    if len(value) > limit:
        repairs.append("too_long")
    return str(value[:limit])


def _moment(value: Any, received_at: dt.datetime, repairs: Repairs) -> Moment:
    moment, repair = read_time(value) if isinstance(value, str) else (Moment(_sent(value), None), "bad_time")
    if repair:
        repairs.append(repair)
    if moment.parsed is not None and not moment.clamped(received_at)[1]:
        repairs.append("bad_time")
    return moment if len(moment.sent) <= MAX_TEXT else Moment(moment.sent[:MAX_TEXT], moment.parsed)


def _sent(value: Any) -> str:
    # The standard library's writer, which knows integers of any length.
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _list(items: Any, repairs: Repairs) -> list[Any]:
    if isinstance(items, list):
        return items
    repairs.append("no_list")
    return [items]


def _fold(text: str, names: Mapping[str, str], repairs: Repairs) -> str:
    """The name as OCPP spells it, where only case, blanks or separators differ; else the text as it is."""
    folded = names.get(text) or names.get(_SEPARATORS.sub("", text).lower())
    if folded is None or folded == text:
        return text
    repairs.append("odd_name")
    return folded


def _names(names: Iterable[enum.StrEnum], **aliases: str) -> dict[str, str]:
    spelt = {name.value: name.value for name in names}
    return {_SEPARATORS.sub("", name).lower(): name for name in spelt} | aliases | spelt


_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?", re.ASCII).fullmatch
_SEPARATORS = re.compile(r"[\s_]+")

_STATUSES = _names(enums.ChargePointStatus)
_ERROR_CODES = _names(enums.ChargePointErrorCode)
_REASONS = _names(enums.Reason)
_MEASURANDS = _names(enums.Measurand)
_UNITS = _names(enums.UnitOfMeasure, **{"%": "Percent"})
_PHASES = _names(enums.Phase)
_CONTEXTS = _names(enums.ReadingContext)
_LOCATIONS = _names(enums.Location)
_FORMATS = _names(enums.ValueFormat)

_SAMPLE_DEFAULTS = tuple(zip(Kind(), (_MEASURANDS, _UNITS, _PHASES, _CONTEXTS, _LOCATIONS, _FORMATS), strict=True))
_SAMPLE_FIELDS = frozenset({"value", "measurand", "unit", "phase", "context", "location", "format"})
_ELEMENT_FIELDS = frozenset({"timestamp", "sampledValue"})


def _with(reader: _Reader, fields: str) -> tuple[frozenset[str], _Reader]:
    return frozenset(fields.split()), reader


_Reader = Callable[[dict[str, Any], dt.datetime, Repairs], Body]
_READERS = {
    "BootNotification": _with(
        _read_boot,
        "chargePointVendor chargePointModel chargePointSerialNumber chargeBoxSerialNumber firmwareVersion iccid imsi"
        " meterType meterSerialNumber",
    ),
    "StatusNotification": _with(_read_status, "connectorId errorCode info status timestamp vendorId vendorErrorCode"),
    "Authorize": _with(_read_authorize, "idTag"),
    "StartTransaction": _with(_read_start, "connectorId idTag meterStart reservationId timestamp"),
    "MeterValues": _with(_read_meter_values, "connectorId transactionId meterValue"),
    "StopTransaction": _with(_read_stop, "idTag meterStop timestamp transactionId reason transactionData"),
}
