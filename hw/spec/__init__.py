"""The ground floor: what gateware and software must agree on, in the standard library only."""
