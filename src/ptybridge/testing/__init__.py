"""For tests of ptybridge and of backends: a scripted child, and the contract every child keeps."""
