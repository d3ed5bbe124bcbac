"""Small pipelines of real diffusers classes, which two CPU cores can train."""

from imap.errors import ImapError
from imap.shapes.models.base import Recipe
from imap.shapes.models.cogvideox import CogVideoX
from imap.shapes.models.hunyuanvideo import HunyuanVideo
from imap.shapes.models.wan import Wan


def recipe_for(backbone: str) -> Recipe:
    """Recipe of a backbone configuration, by its name.

    Raises:
        ImapError: The configuration is not one of the embedded world.
    """
    if backbone.removeprefix("shapes_") not in RECIPES or not backbone.startswith("shapes_"):
        known = ", ".join(f"shapes_{family}" for family in RECIPES)
        raise ImapError(f"backbone={backbone} is not a model of the embedded world; choose one of {known}")
    return RECIPES[backbone.removeprefix("shapes_")]


RECIPES: dict[str, Recipe] = {recipe.family: recipe for recipe in (CogVideoX(), Wan(), HunyuanVideo())}
