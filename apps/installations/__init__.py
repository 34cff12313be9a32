"""What stands where: locations, charging stations, EVSEs, connectors, their hardware, live state and history.

Beside the usual files: `status` (what a charger's status and boot mean for its live state, a pure function), `store`
(what a gateway's batch loads and writes), `commands` (what may be asked of a charger, as data), `secrets` (what
nobody may read in what chargers say, a pure function), `baseline` (the configuration that every charger should have,
as data), `hours` (opening hours as people write them and as OCPI keeps them), `imports` (how files of rows are read,
judged and written, for any app) and `kinds` (the rows of this app that come so).
"""
