"""The outbox of e-mails: what is to be sent, to whom, in whose language, and what became of it."""
