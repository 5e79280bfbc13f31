"""One module per family of scenes; every module here is loaded by the lab."""
