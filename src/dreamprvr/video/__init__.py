"""Video files read one way: the same stream, seconds and colours for every use."""
