"""Pictures of maps, from a run folder alone: overlays, strips and a report page. No model is needed or loaded."""
