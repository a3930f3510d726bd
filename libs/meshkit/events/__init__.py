"""What happened, announced: written with the change itself, published after."""
