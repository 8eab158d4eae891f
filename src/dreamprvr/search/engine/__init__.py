"""Engines that keep the vectors of a library: an embedded one, and a client of a server."""
