"""The worker models: how a handler call is run."""
