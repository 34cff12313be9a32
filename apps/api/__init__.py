"""The REST API: views over the same services and selectors as the pages, problem+json errors, OpenAPI."""
