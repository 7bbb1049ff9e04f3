"""What leaves the program: the contract, and the ways to the broker."""
