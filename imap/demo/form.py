"""The form: words, a clip, examples, and the few settings that matter."""

from typing import Any

import gradio as gr  # pyright: ignore[reportMissingImports] (an extra)

from imap.demo import examples
from imap.demo.engine import Engine, Form

PROMPT, CLIP = "From a prompt", "From a clip"


def words_and_clip(engine: Engine) -> dict[str, Any]:
    """What to look for, and in what."""
    opening = examples.first(engine.configs[False])
    words: dict[str, Any] = {"max_lines": 1, "min_width": 140}
    mode = gr.Radio([PROMPT, CLIP], value=PROMPT, label="Source", show_label=False, container=False, elem_id="mode")
    with gr.Column(visible=False) as of_clips:
        clip = gr.Video(label="Clip", sources=["upload"], height=200, buttons=[], elem_id="clip")
    prompt = gr.Textbox(
        opening.prompt,
        label="Prompt",
        info="A sentence that describes the video",
        max_lines=4,
        elem_id="prompt",
    )
    with gr.Row():
        concepts = gr.Textbox(
            opening.concepts,
            label="Concepts",
            info="Nouns, separated by commas",
            elem_id="concepts",
            **words,
        )
        motions = gr.Textbox(
            opening.motions,
            label="Motions",
            info="Motion words, separated by commas",
            elem_id="motions",
            **words,
        )
    mode.change(lambda chosen: gr.Column(visible=chosen == CLIP), mode, of_clips, queue=False, api_visibility="private")
    return {"mode": mode, "clip": clip, "prompt": prompt, "concepts": concepts, "motions": motions}


def example_buttons(engine: Engine, inputs: dict[str, Any]) -> None:
    """Buttons that fill in the form; those of clips while a clip is to be read."""
    words = [inputs[name] for name in ("prompt", "concepts", "motions")]
    with gr.Column(elem_id="prompts") as of_prompts:
        listed = examples.prompts(engine.backbone)
        gr.Examples(
            [[x.prompt, x.concepts, x.motions] for x in listed],
            words,
            label="Examples",
            example_labels=[x.prompt for x in listed],
            api_visibility="private",
        )
    with gr.Column(visible=False, elem_id="clips") as of_clips:
        listed = examples.clips(engine.backbone)
        if listed:
            gr.Examples(
                [[x.clip, x.prompt, x.concepts, x.motions] for x in listed],
                [inputs["clip"], *words],
                label="Example clips",
                example_labels=[x.prompt for x in listed],
                api_visibility="private",
            )

    _switch(inputs["mode"], of_prompts, of_clips)


def settings(engine: Engine, mode: Any) -> dict[str, Any]:
    """The settings that matter most, with the values of the command line."""
    sampling, renoising = engine.configs[False], engine.configs[True]
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        seed = gr.Number(sampling["seed"], label="Seed", precision=0, elem_id="seed")
        effect = gr.Checkbox(
            bool(sampling["effect"]),
            label="Effect of each word",
            elem_id="effect",
            info="How the prediction changes without it: one more forward pass per word and step",
        )
        with gr.Column() as of_prompts:
            steps = gr.Number(sampling["num_inference_steps"], label="Denoising steps", precision=0, elem_id="steps")
            times = [("after the video is made", "after"), ("while it is made", "during"), ("both", "both")]
            read = gr.Radio(times, value=sampling["read"], label="Maps are read", elem_id="read")
        with gr.Column(visible=False) as of_clips:
            sizes = [("crop the centre", "crop"), ("stretch", "stretch"), ("show an error", "none")]
            resize = gr.Radio(
                sizes, value=renoising["video"]["resize"], label="A clip of another size", elem_id="resize"
            )
            lengths = [("take frames evenly", "uniform"), ("take the first frames", "first"), ("show an error", "none")]
            frames = gr.Radio(
                lengths, value=renoising["video"]["frames"], label="A clip of another length", elem_id="frames"
            )

    _switch(mode, of_prompts, of_clips)
    return {"seed": seed, "steps": steps, "read": read, "effect": effect, "resize": resize, "frames": frames}


def read(values: dict[str, Any]) -> Form:
    """What is filled in. values: by name of the component."""
    texts = {name: values[name] or "" for name in ("prompt", "concepts", "motions")}
    chosen = {name: values[name] for name in ("clip", "seed", "steps", "read", "effect", "resize", "frames")}
    return Form(renoising=values["mode"] == CLIP, **texts, **chosen)


def _switch(mode: Any, of_prompts: Any, of_clips: Any) -> None:
    """Show one of two columns, as `mode` says."""

    def shown(chosen: str) -> Any:
        return gr.Column(visible=chosen == PROMPT), gr.Column(visible=chosen == CLIP)

    mode.change(shown, mode, [of_prompts, of_clips], queue=False, api_visibility="private")
