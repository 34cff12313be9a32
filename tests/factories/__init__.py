"""One factory a model, and the standing cast of tenants (`cast`)."""
