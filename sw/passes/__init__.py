"""From a torch model to a program image, pass by pass."""
