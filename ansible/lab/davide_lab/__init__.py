"""The local cluster of DAVIDE Hub: real hosts on one machine, provisioned by the plays of production."""
