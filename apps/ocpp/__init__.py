"""The OCPP gateway: chargers' websockets, their messages in batches, our commands to them, what was said.

Beside the usual files, on a message's way: `servers` (daphne and uvicorn), `handshake` (who may connect) with `keys`
(station passwords), `consumers` (the websocket shell) with `wire` (its short way between socket and charger),
`frames` (reading and writing OCPP-J frames), `admission` (one CALL a station at a time), `inbox` (lanes) and
`batches` (one of them decided, written, answered), one package a protocol version (`v16`), `masking` (no secret in
the frame log), `clock` (times as chargers write them). `outbox` is the way back, for commands; `gateway` is one
process: lease, drain, database watch. `simulator` and `demo` see it from outside.
"""
