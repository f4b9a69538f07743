"""What touches the world: one class a concern, each method one step of a workflow."""
