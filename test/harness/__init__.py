"""What the tests of the real daemon share: starting it, speaking to it, looking at its processes."""
