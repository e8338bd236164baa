"""`make bench`: what each step costs beside its floor, and beside what people would pick instead.

Not part of the package: nothing here is installed, and no test asserts on a time.
"""
