"""What is done on a head node, beside its generations: arming machines for an installer."""
