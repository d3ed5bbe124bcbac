"""Whether and how a checkpoint would be traced, from its small files: no weights are loaded, and nothing runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imap.backbones import backbone_of
from imap.backbones.base import Backbone
from imap.config.method import AUTO
from imap.config.presets import Preset, preset_for, presets
from imap.errors import ImapError
from imap.jobs.renoising import check_pipeline
from imap.methods.registry import EFFECT, MAPS
from imap.runs.backbone_table import columns, known_backbones
from imap.runs.checkpoint import check_weight_files
from imap.runs.meta_pipeline import check_class, class_of_part, meta_pipeline, read_index
from imap.tracing.compatibility import check_traceable


@dataclass(frozen=True)
class Inspection:
    """What imap would read of a checkpoint.

    Attributes:
        source: folder or hub id.
        index: its model_index.json.
        backbone: adapter of the pipeline without weights.
        fitting: configuration of the same family, blocks and heads; None for another size.
        renoising: why clips cannot be renoised; None if they can.
        pickled: what to do about weights that exist as .bin only; None for none.
    """

    source: str
    index: Mapping[str, Any]
    backbone: Backbone
    fitting: Preset | None
    renoising: str | None
    pickled: str | None

    @property
    def is_sampled(self) -> bool:
        """Whether the commands take it. Other pipeline classes of its transformer are traced from Python."""
        return self.index["_class_name"] == self.backbone.pipeline_class

    def facts(self) -> dict[str, str]:
        """What a person wants to know, by name, in order."""
        backbone = self.backbone
        config = backbone.transformer.config
        high, wide = backbone.size_multiple(config.patch_size)
        factor = getattr(backbone.pipe, "vae_scale_factor_spatial", None) or backbone.spatial_factor
        high, wide = (x // backbone.spatial_factor for x in (high, wide))
        latent_frames = backbone.latent_frames_per_patch
        kind = "joint, over text and video" if backbone.joint_attention else "cross-attention from video to text"
        maps = [x.label for x in MAPS if backbone.maps_of_layer([x])]
        several = f"{len(backbone.parts)} of " if len(backbone.parts) > 1 else ""
        text = ", ".join(filter(None, (class_of_part(self.index, x) for x in ("text_encoder", "text_encoder_2"))))
        paper = self._defaults.paper
        found = {
            "pipeline": self.index["_class_name"],
            "transformer": several + backbone.transformer_class,
            "family": backbone.family,
            "blocks": f"{backbone.num_layers} with maps, of {backbone.num_heads} heads each",
            "token": f"{latent_frames} x {high} x {wide} latent cells, {high * factor} x {wide * factor} pixels",
            "VAE": f"{class_of_part(self.index, 'vae')}: time / {backbone.temporal_factor}, space / {factor}",
            "words": f"{text}; {backbone.text_length} text tokens",
            "attention": kind,
            "maps": ", ".join([*maps, EFFECT]),
            "text target": paper["imap_qk_matching_target"],
            "motion heads": f"{paper['imap_sep_topk']} of a layer",
            "layers": self._layers(),
            "renoising": self.renoising or "yes",
            "use": self._use(),
        }
        if class_of_part(self.index, "vae") is None:
            found["VAE"] = "none"
        return found | ({"note": self.pickled} if self.pickled else {})

    @property
    def _defaults(self) -> Preset:
        backbone = self.backbone
        return self.fitting or preset_for(backbone.family, backbone.num_layers, backbone.num_heads)

    def _layers(self) -> str:
        if self.fitting is None:
            return "no configuration has this size: set imap_layer to a list, or to auto in a run (lambda_2)"
        layers = self.fitting.paper["imap_layer"]
        if layers == AUTO:
            return "imap_layer=auto, chosen by lambda_2 in a run; in Python, imap_layer must be a list"
        return f"imap_layer={layers}".replace(" ", "")

    def _use(self) -> str:
        """Settings of a command, or what to call in Python."""
        if not self.is_sampled:
            return f"imap.trace in Python; imap sample takes a {self.backbone.pipeline_class}"
        if self.backbone.in_sections:
            return "imap.trace in Python, with trace.sections(): a video may be made in sections"
        family = self.backbone.family
        fallback = next(x for x in presets().values() if x.family == family and x.is_published)
        preset = self.fitting or fallback
        own, here = next(x.source for x in known_backbones() if x.name == preset.name), Path(self.source)
        settings = [f"backbone={preset.name}"]
        if own not in (self.source, str(here.resolve())):
            settings.append(f"backbone.{'path' if here.is_dir() else 'id'}={self.source}")
        if self.fitting is None:
            settings += ["imap_layer=auto", f"imap_sep_topk={self._defaults.paper['imap_sep_topk']}"]
        return "imap sample " + " ".join([*settings, *(f"{name}=FILE" for name in self.backbone.images)])


def inspect_checkpoint(source: str) -> Inspection:
    """Read the small files of a checkpoint, and build its transformers and VAE without weights.

    Args:
        source: folder in diffusers format, or hub id, of which only JSON files are downloaded.

    Raises:
        ImapError: for a checkpoint that cannot be traced. The message says why.
    """
    index = read_index(source)
    check_class(source, index)
    for part in ("tokenizer", "text_encoder"):
        if class_of_part(index, part) is None:
            raise ImapError(f"cannot trace {source}, a {index['_class_name']}: it has no {part}, which words need")
    backbone = backbone_of(meta_pipeline(source, index))
    check_traceable(backbone)
    return Inspection(source, index, backbone, _fitting(backbone), _no_renoising(backbone), _pickled(source))


def _fitting(backbone: Backbone) -> Preset | None:
    size = (backbone.family, backbone.num_layers, backbone.num_heads)
    return next((x for x in presets().values() if (x.family, x.num_layers, x.num_heads) == size), None)


def _no_renoising(backbone: Backbone) -> str | None:
    kind = type(backbone.pipe).__name__
    if kind != backbone.pipeline_class:
        return f"no: imap renoise takes a {backbone.pipeline_class}, and this is a {kind}"
    if getattr(getattr(backbone.pipe, "vae", None), "encoder", None) is None:
        return "no: it has no VAE with an encoder, which reads clips"
    try:
        check_pipeline(backbone)
    except ImapError as error:
        return f"no: {error}"
    return None


def _pickled(source: str) -> str | None:
    try:
        check_weight_files(Path(source))
    except ImapError as error:
        return str(error)
    return None


def as_text(found: Inspection) -> str:
    """A heading, and a line for each fact."""
    rows = [(f"  {name}", value) for name, value in found.facts().items()]
    return "\n".join([f"{found.source} can be traced", *columns(rows)])
