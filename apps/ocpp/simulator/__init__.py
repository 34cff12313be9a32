"""Simulated chargers of OCPP 1.6J, over real websockets: for `manage.py simulate`, the demo and the tests.

`charger` is the machine: its socket, its calls, what it keeps while it is offline. `vehicle` is the physics: what a car
takes and a meter shows. `commands` is how it answers us. `profiles` is how it lives, well or badly. `clocks` tells the
time, now or in the past. Nothing here knows Django: a charger sees the system from outside.
"""

from apps.ocpp.simulator.charger import CallRefused, NotConnected, SimulatedCharger, Transaction
from apps.ocpp.simulator.clocks import LiveClock, PastClock
from apps.ocpp.simulator.commands import SILENCE
from apps.ocpp.simulator.profiles import Profile, live
from apps.ocpp.simulator.vehicle import Hardware, Vehicle

__all__ = [
    "SILENCE",
    "CallRefused",
    "Hardware",
    "LiveClock",
    "NotConnected",
    "PastClock",
    "Profile",
    "SimulatedCharger",
    "Transaction",
    "Vehicle",
    "live",
]
