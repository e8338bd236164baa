"""bootsmith: bootable images as a dependency-tracked graph."""
