"""DBRT/1, the wire protocol, without sockets: encodes events as messages, decodes and follows received messages."""
