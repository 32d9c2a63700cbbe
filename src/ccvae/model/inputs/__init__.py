"""What a model takes: tables of raw rows, image files and images in memory, and how each becomes its inputs."""
