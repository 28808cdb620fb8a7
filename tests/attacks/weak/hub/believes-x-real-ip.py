"""A browser is where a header says it is."""

from davide_hub import turnstile

turnstile.caller_address = lambda request: request.remote_ip
