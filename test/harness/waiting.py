"""Waiting for something to become true, bounded. No test here asserts how long something took."""
import time


def eventually(check, what, timeout=30.0, interval=0.02):
    """Calls check() until it returns something true and returns that; AssertionErrors in it count as not yet."""
    deadline = time.monotonic() + timeout
    problem = None
    while True:
        try:
            result = check()
            if result:
                return result
            problem = None
        except AssertionError as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout} s: {what}" + (f" ({problem})" if problem else ""))
        time.sleep(interval)


def stays(check, what, seconds=1.0, interval=0.05):
    """Fails when check() becomes false within the time; for things that must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert check(), f"did not stay so: {what}"
        time.sleep(interval)
