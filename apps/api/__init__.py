"""The REST API: views over the same services and selectors as the pages, problem+json errors, OpenAPI.

Beside the usual files: `authentication` (API keys), `problems` (errors as RFC 9457), `parsers` (bodies), `serializers`,
`pagination`, `health` (is the process alive, can it work)."""
