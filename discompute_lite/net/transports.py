"""List the ways of moving beacons: each is a class that announces a datagram and hears others'.

Knows:   their names, by which the setting `discovery` chooses.
Refuses: how any of them works.
Read next: net/broadcast.py and net/mdns_transport.py (the ways), roles/ports.py (what a way must offer).
"""

from __future__ import annotations

from ..model.catalog import Catalog
from .broadcast import BroadcastTransport, SeedTransport
from .mdns_transport import MdnsTransport

#: name -> class(loop, options).
TRANSPORTS: Catalog = Catalog("transport")
TRANSPORTS.add(BroadcastTransport.name, BroadcastTransport)
TRANSPORTS.add(MdnsTransport.name, MdnsTransport)
TRANSPORTS.add(SeedTransport.name, SeedTransport)
