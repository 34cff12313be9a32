"""What Voltdesk costs, measured beside a naive design and a Node central system. `make bench`; docs/benchmarks.md."""
