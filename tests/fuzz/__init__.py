"""Fuzzing, guided by coverage: bytes that nobody would think of, for what reads bytes from the network before anybody knows whose they are."""
