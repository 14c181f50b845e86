"""Methods that the network is compared with."""
