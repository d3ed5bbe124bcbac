"""The Motion Localization Score: a vision language model grades maps."""
