"""Who may do what over HTTP: tokens and their scopes, names the service answers to, and what is written down of it."""
