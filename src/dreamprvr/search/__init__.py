"""Libraries of videos: a model encodes the videos, an engine ranks them, searches give moments."""
