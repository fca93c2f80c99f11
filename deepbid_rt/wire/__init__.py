"""DBRT/1, the wire protocol, without sockets: bytes in, messages and events out, and back."""
