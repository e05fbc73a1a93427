"""What every integration test file shares: it runs, or it says why not (exit code 77)."""

import sys
import unittest

import campus


def main():
    if (reason := campus.why_not()) is not None:
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main(module="__main__", verbosity=2, failfast=False)
