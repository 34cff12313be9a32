"""Reports about consumption, for pages and documents.

Beside the usual files: `rows` (the typed rows of a report), `charts` (the bars of both), `documents` (the PDF)."""
