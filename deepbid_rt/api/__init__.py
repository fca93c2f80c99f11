"""The public Python interface, used as ``import deepbid_rt as rt``: arrays, files, live sources, live consumers."""
