"""Which connections belong to the same peer."""

from __future__ import annotations

import ipaddress


def peer_of(address: str) -> str:
    """Return the name under which the connections of an address are counted.

    An IPv6 host has 2**64 addresses of its own, so its network counts. An IPv4 address that is written as an IPv6 one
    is the same host.

    Parameters
    ----------
    address : str
        An IP address, perhaps with a zone such as ``%eth0``; any other text counts as it is.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        if not ip.is_loopback:
            return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
