"""The small pipelines: real diffusers classes, sized so that two CPU cores can train them."""

from imap.shapes.models.base import Recipe
from imap.shapes.models.cogvideox import CogVideoX
from imap.shapes.models.hunyuanvideo import HunyuanVideo
from imap.shapes.models.wan import Wan

RECIPES: dict[str, Recipe] = {recipe.family: recipe for recipe in (CogVideoX(), Wan(), HunyuanVideo())}
