"""The OCPP gateway: chargers' websockets, their messages in batches, our commands to them, what was said.

Beside the usual files: `consumers` (the websocket shell), `frames` (reading and writing OCPP-J frames), `handshake`
(who may connect), `inbox` (lanes and batches), `outbox` (commands), `gateway` (one process: lease, drain, database
watch), `keys` (station passwords), `servers` (daphne and uvicorn), `simulator`, `demo`, and one package a protocol
version."""
