"""The blocking client. All but `connection.py` is made from `sdk/aio` by `make docs`; do not edit."""
