"""Deliveries: signed POSTs to places other people run, and how such a place is looked at before it is trusted.

`verify` is for the programs that receive them; the rest is the app's.
"""

from gotaskq.delivery.signing import verify

__all__ = ["verify"]
