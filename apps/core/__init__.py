"""What every app shares and no app owns: who acts, what they may see, how apps talk to each other.

No tables. Nothing lives here that fewer than three apps use. Beside the usual files:
`actor` (who acts), `addresses` (from where), `energy` (unit arithmetic), `live` (hints to open pages),
`bulk` (one statement a table, on both databases), `timeseries` (monthly partitions), `schedules` (work that
runs again and again), `middleware` (content security by host).
"""
