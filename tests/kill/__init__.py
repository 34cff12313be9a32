"""What must survive: a killed gateway, a database that throws everybody out or stops, thousands of chargers at once.
Not part of the suite: `make test` runs each once a database, `make soak` longer (KILLS, STORM, AWAY_S)."""
