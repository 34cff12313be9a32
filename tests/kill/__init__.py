"""What must survive: a killed gateway, a database that throws everybody out, thousands of chargers at once. Not part of
the suite: `make test` runs each once a database, `make soak` longer (KILLS, STORM)."""
