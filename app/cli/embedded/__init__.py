"""`podwire up`: the whole service on this machine, its folder and its processes."""
